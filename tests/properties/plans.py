"""What must hold for fits of single candidates, and for whole runs."""

import math
import random
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx

from onnxshallow import optimize
from onnxshallow.actions.apply import apply_candidates
from onnxshallow.actions.base import Candidate
from onnxshallow.analysis import NotLinearError, analyze
from onnxshallow.analysis.narrowing import find_narrowable
from onnxshallow.errors import ExitCode, ModelError, OnnxshallowError, TargetError
from onnxshallow.fitting.calibration import Calibration
from onnxshallow.model.session import Session
from onnxshallow.model.spelling import plainly_spelled
from onnxshallow.rewriting.channel_orders import with_orders
from onnxshallow.rewriting.lowering.lower import MaskForm
from onnxshallow.rewriting.realize import realize
from onnxshallow.rewriting.site_statistics import collect_statistics
from onnxshallow.runtime.store import ActivationStore
from onnxshallow.workflows.result import Result
from tests.networks import some_statistics
from tests.properties.cases import Case, Counts, assert_close, assert_usable, count_relus
from tests.properties.checks import assert_unchanged, disjoint, find_all, listed
from tests.properties.engines import Array

__all__ = ["check_fits", "check_plan"]

_SAMPLES = 24
MASK_FORMS: tuple[MaskForm, ...] = ("split", "prelu", "max")
# Fits of a model that are checked.
_FITS = 2


def in_plain_spelling(case: Case) -> Case:
    """The case of the same model as all rooms see it, such as with two Clips in a row as one."""
    plain = plainly_spelled(case.model).model
    return replace(case, model=plain, analysis=analyze(plain, case.input_shapes))


def samples(case: Case, seed: int) -> dict[str, Array]:
    """Signed random inputs, `_SAMPLES` of each."""
    numbers = np.random.default_rng(seed)
    return {
        name: numbers.normal(size=(_SAMPLES, *values.shape[1:])).astype(values.dtype)
        for name, values in case.feeds.items()
    }


def check_fits(case: Case, random: random.Random, counts: Counts) -> None:
    """A fitted candidate makes a usable model, and changes nothing but what it names."""
    arrays, size = samples(case, 1), case.fixed_batch or 8
    batches = [
        {name: array[start : start + size] for name, array in arrays.items()} for start in range(0, _SAMPLES, size)
    ]
    calibration = Calibration(batches, len(batches) * 2 // 3, ActivationStore(1 << 28), threads=1)
    removable = [site for site in case.analysis.sites if site.refusal is None]
    pixels = case.analysis.network.has_fixed_sizes
    statistics = collect_statistics(case.analysis, removable, calibration, pixels=pixels)
    statistics = with_orders(case.analysis, statistics, find_narrowable(case.analysis)[0], calibration)
    candidates = find_all(case.analysis)
    chosen = [[candidate] for candidate in random.sample(candidates, min(len(candidates), _FITS))]
    for together in (*chosen, disjoint(random.sample(candidates, len(candidates)))):
        what = f"{listed(together)}, fitted"
        correction, form = len(together) > 1, random.choice(MASK_FORMS)
        try:
            realized = realize(case.analysis, together, statistics, calibration, correction=correction, form=form)
        except NotLinearError as error:
            raise AssertionError(f"{what}: {error}") from error
        assert_usable(case, realized.model, what)
        if not is_lowered(case, together):
            # the factor that a removal leaves to a normalization of its own goes into the layers around it
            factors = any(layer.kind == "affine" for layer in case.analysis.layers)
            assert_unchanged(case, realized.model, together, what, layers=correction or factors)
        left = case.analysis.cost.relus - sum(candidate.relus for candidate in together)
        assert count_relus(case, realized.model) <= left, f"{what}: more than {left} ReLUs are left"
        counts["candidates fitted"] += len(together)


def is_lowered(case: Case, together: Sequence[Candidate]) -> bool:
    """Whether layers that are not named may change, as channels change their order, or layers take up factors."""
    if any(candidate.kind == "partial" for candidate in together):
        return True
    rewritten = apply_candidates(case.analysis, together, some_statistics(case.analysis)).analysis
    before, after = (
        {layer.output for layer in each.layers if layer.kind == "affine"} for each in (case.analysis, rewritten)
    )
    return not after <= before


def check_plan(case: Case, random: random.Random, folder: Path, counts: Counts) -> None:
    """A whole run ends with a model that is what the report says, or with a sentence that says why not."""
    path = folder / "net.onnx"
    onnx.save(case.model, path)
    content = path.read_bytes()
    options = _options(in_plain_spelling(case), random, folder)
    result: Result | None = None
    try:
        result = optimize(
            path, cache=False, threads=1, calib_samples=_SAMPLES, input_shape=case.input_shapes, force=True, **options
        )
        error = result.error
    except OnnxshallowError as raised:
        error = raised
    assert path.read_bytes() == content, "the original's file was changed"
    if error is not None:
        _check_refusal(in_plain_spelling(case), error, options, counts)
        return
    assert result is not None
    assert result.plan is not None
    result.save(folder / "shallow.onnx")
    model = onnx.load(folder / "shallow.onnx")
    counts["plans"] += 1
    what = f"the plan {[candidate.key for candidate in result.plan.candidates]} of {options}"
    assert_usable(case, model, what)
    fast = Session(model, threads=1).run(case.feeds)
    for output, wanted in zip(fast, case.run(model), strict=True):
        assert_close(output, wanted, f"{what}: an output of the optimized session", factor=10)
    case, model = in_plain_spelling(case), plainly_spelled(model).model
    relus = count_relus(case, model), count_relus(case, case.model)
    stated = result.report.optimized, result.report.original
    assert stated[0] is not None
    assert stated[1].relus == relus[1], f"{what}: {stated[1].relus} ReLUs are reported for {relus[1]}"
    assert stated[0].relus == relus[0], f"{what}: {stated[0].relus} ReLUs are reported for {relus[0]} that are left"
    assert relus[0] <= int(options["target_relus"] * relus[1] + 1e-9), (
        f"{what}: {relus[0]} of {relus[1]} ReLUs are left"
    )
    if not is_lowered(case, result.plan.candidates) and not result.report.lossless:
        assert_unchanged(case, model, result.plan.candidates, what, layers=bool(options["correction"]))
    squares = stated[0].squares - stated[1].squares
    assert squares <= sum(candidate.squares for candidate in result.plan.candidates), f"{what}: {squares} squares"


def _fewest(case: Case) -> int:
    """The lowest ReLU count that removals reach: one activation always stays."""
    sites = case.analysis.sites
    fixed = sum(site.size or 0 for site in sites if site.refusal is not None)
    return max(fixed, min((site.size or 0 for site in sites), default=0))


def _options(case: Case, random: random.Random, folder: Path) -> dict[str, object]:
    target, total = random.choice((0.7, 0.7, 0.5, 0.9)), case.analysis.cost.relus
    if total and random.random() < 0.9:  # one that can be reached
        target = max(target, math.ceil(1000 * _fewest(case) / total) / 1000)
    granularity = random.choice(("layer", "layer", "channel", "channel", "pixel"))
    options: dict[str, object] = {
        "target_relus": target,
        "kernel": random.choice(("auto", "auto", "auto", "exact", "3")),
        "sensitivity": random.choice(("kl", "kl", "mse", "magnitude")),
        "correction": random.random() < 0.7,
        "granularity": granularity,
        "polynomials": random.random() < 0.3,
        "seed": 3,
    }
    if granularity == "channel":
        options["mask_form"] = random.choice(MASK_FORMS)
    if random.random() < 0.2:
        options["target_macs"] = random.choice((0.9, 0.7))
    if random.random() < 0.9:
        np.savez(folder / "samples.npz", **samples(case, 2))
        options["calib"] = str(folder / "samples.npz")
    return options


def _check_refusal(case: Case, error: OnnxshallowError, options: dict[str, object], counts: Counts) -> None:
    """A refusal is a sentence, of the right class, and there is a reason for it."""
    sentence = str(error)
    assert sentence.endswith("."), f"an error is no sentence: {sentence!r}"
    assert error.exit_code in (ExitCode.UNUSABLE_INPUT, ExitCode.TARGET), f"exit code {error.exit_code}: {sentence}"
    words = re.sub(r"\d[\d.%]*", "N", sentence).split()[:9]
    counts[f"refusal: {type(error).__name__}: {' '.join(words)}"] += 1
    counts["refusals"] += 1
    if isinstance(error, TargetError):
        kept, total = _fewest(case), case.analysis.cost.relus
        exact = options["kernel"] == "exact"  # asks for a merger too, and there may be none
        reachable = not exact and kept <= int(float(str(options["target_relus"])) * total + 1e-9)
        assert "target_macs" in options or not reachable, f"a target that can be reached is refused: {sentence}"
    elif isinstance(error, ModelError):
        without = "has no ReLU-like activation" in sentence and not case.analysis.sites
        assert without or len(case.engines) == 1, f"a model that runs is refused: {sentence}"
    else:
        assert "calib" not in options, f"good samples are refused: {sentence}"
