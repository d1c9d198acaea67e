"""Random networks with random partial activations compute the same once they are lowered."""

import random

import numpy as np
import pytest

from onnxshallow.actions.partial import mask_refusal
from onnxshallow.analysis import analyze
from onnxshallow.analysis.partial import Partial
from onnxshallow.rewriting.lowering.lower import MaskForm, lower
from tests.partials import intermediate, random_partial
from tests.properties.cases import Case, Counts, assert_close, assert_valid, open_case
from tests.properties.generator import random_model

SEEDS = range(120)
GROUP = 30
# Where has taken the types of activations since this version.
OLDEST = 9


@pytest.mark.parametrize("form", ["split", "prelu", "max"])
@pytest.mark.parametrize("first", SEEDS[::GROUP])
def test_lowering_changes_no_output(first, form):
    for seed in range(first, first + GROUP):
        model = random_model(random.Random(seed))
        if model.opset_import[0].version >= OLDEST:
            case = open_case(model, Counts())
            try:
                check_lowering(case, draw_partials(case, np.random.default_rng(seed)), form)
            except AssertionError as error:
                raise AssertionError(f"seed {seed}: {error}") from error


def draw_partials(case: Case, generator: np.random.Generator) -> list[Partial]:
    """Partial activations for most sites that can have one, some of single places."""
    found = []
    for site in case.analysis.sites:
        if site.refusal is None and mask_refusal(case.analysis, site) is None and generator.random() < 0.8:
            spatial = (case.analysis.network.full_shape(site.output) or ())[2:]
            fixed = site.channels > 1 and case.input_shapes is None
            found.append(random_partial(generator, site, spatial if fixed and generator.random() < 0.2 else ()))
    return found


def check_lowering(case: Case, partials: list[Partial], form: MaskForm) -> None:
    """Fail unless a lowered model is valid, makes the intermediate form's outputs and activates no more than it."""
    before = intermediate(case.model, partials, case.input_shapes)
    lowered = lower(before, partials, form)
    assert_valid(lowered, case.model)
    for engine in case.engines:
        outputs, wanted = case.run(lowered, engine), case.run(before.network.model, engine)
        for info, output, expected in zip(case.model.graph.output, outputs, wanted, strict=True):
            assert_close(output, expected, f"{info.name} by {engine}")
    kept = {partial.output: np.mean(partial.kept) for partial in partials}
    sizes = [(site.size or 0) * kept.get(site.output, 1.0) for site in case.analysis.sites]
    assert analyze(lowered, case.input_shapes).cost.relus <= sum(map(round, sizes)), "more is activated than is kept"
