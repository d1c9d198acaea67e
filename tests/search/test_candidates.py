from dataclasses import replace

import pytest

from onnxshallow.actions.base import FindOptions
from onnxshallow.analysis import analyze
from onnxshallow.errors import TargetError
from onnxshallow.runtime.progress import Silent
from onnxshallow.search.candidates import (
    find_candidates,
    find_every_candidate,
    find_options,
    possible_candidates,
    refused_though_asked,
    require_reachable,
)
from onnxshallow.search.inputs import observe
from onnxshallow.search.solver import Budget
from tests.networks import build, smooth
from tests.runs import NET, NET_WEIGHTS, load_case


def test_candidates_and_refusals_divide_the_sites(inputs):
    analysis = inputs.analysis
    candidates, refusals = find_candidates(analysis, FindOptions())
    covered = {name for candidate in candidates for name in candidate.sites}
    assert covered | set(refusals) == {site.name for site in analysis.sites}
    assert not covered & set(refusals)


def test_a_site_that_nothing_applies_to_has_a_reason():
    model = build("(float[N,3,6,6] x) => (float[N,3,6,6] y) { y = Relu(x) }")
    candidates, refusals = find_candidates(analyze(model), FindOptions())
    assert set(refusals) == {"y"} - {name for candidate in candidates for name in candidate.sites}
    assert all(refusals.values())


def test_for_plans_by_hand_every_kernel_is_there(inputs):
    keys = {candidate.key for candidate in find_every_candidate(inputs)}
    assert keys > {candidate.key for candidate in find_candidates(inputs.analysis, FindOptions())[0]}
    assert {"fuse:3x3:x->h1", "fuse:5x5:x->h1", "fuse:5x5:border:x->h1"} <= keys


@pytest.mark.parametrize(
    ("options", "deeper"),
    [
        ({"target_macs": "0.6"}, True),
        ({"target_relus": "0.6"}, False),
        ({"target_macs": "0.6", "kernel": "exact"}, False),
        ({"target_macs": "0.6", "sensitivity": "magnitude"}, False),
    ],
    ids=["macs", "relus", "exact", "magnitude"],
)
def test_layers_are_split_and_narrowed_only_where_multiply_adds_are_asked_for_and_measured(tmp_path, options, deeper):
    inputs = load_case(tmp_path, **options)
    candidates, _ = find_candidates(inputs.analysis, find_options(inputs))
    assert any(candidate.kind == "split" for candidate in candidates) is deeper
    assert any(candidate.thinned for candidate in candidates) is deeper


def test_a_budget_out_of_reach_is_known_before_anything_is_measured(inputs):
    require_reachable(inputs, Budget(inputs.analysis.cost.relus // 2, inputs.analysis.cost.macs))
    with pytest.raises(TargetError):
        require_reachable(inputs, Budget(1))


def test_masks_and_parabolas_are_looked_for_where_they_are_asked_for(tmp_path):
    actions = {}
    for name, options in {
        "layer": {},
        "channel": {"granularity": "channel"},
        "pixel": {"granularity": "pixel"},
        "parabolas": {"polynomials": True},
    }.items():
        candidates, _ = possible_candidates(load_case(tmp_path, **options))
        actions[name] = {c.action for c in candidates}
        assert {c.pixels for c in candidates if c.action == "mask"} <= {name == "pixel"}
    assert actions["channel"] == actions["pixel"] == actions["layer"] | {"mask"}
    assert actions["parabolas"] == actions["layer"] | {"quadratic"}


def test_for_plans_by_hand_every_mask_and_parabola_is_there(inputs):
    found = {c.key for c in find_every_candidate(inputs)}
    assert {f"{action}:kept{kept}:h1->r1" for action in ("mask", "quadratic") for kept in range(4)} <= found
    for granularity in ("channel", "pixel"):
        for polynomials in (False, True):
            options = FindOptions(granularity=granularity, polynomials=polynomials)
            assert {c.key for c in find_candidates(inputs.analysis, options)[0]} <= found


def test_samples_that_were_seen_tell_which_parabolas_there_are(tmp_path):
    inputs = load_case(tmp_path, polynomials=True)
    statistics = dict(observe(inputs, Silent()).statistics)
    flat = replace(statistics["r1"], quadratic_error=statistics["r1"].affine_error)
    candidates, refusals = possible_candidates(inputs, {**statistics, "r1": flat})
    assert {c.output for c in candidates if c.action == "quadratic"} == {"r0", "r2"}
    assert "r1" not in refusals  # it can be removed all the same


def test_where_an_action_that_was_asked_for_refuses_is_said_once_for_each_reason(tmp_path):
    model = build(NET.replace("6,6]", "H,W]"), **NET_WEIGHTS)
    arrays = {"x": smooth(32, 3, 6)}
    plain = load_case(tmp_path, model, arrays=arrays)
    assert refused_though_asked(plain, observe(plain, Silent()).statistics) == []
    asked = load_case(tmp_path, model, arrays=arrays, granularity="pixel")
    (said,) = refused_though_asked(asked, observe(asked, Silent()).statistics)
    sites = len(asked.analysis.sites)
    assert said.startswith(f"mask is refused at {sites} of {sites} sites, such as ")
    assert said.endswith("export the model so, or use --granularity channel")
