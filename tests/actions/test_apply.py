import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from onnxshallow.actions import apply
from onnxshallow.actions.apply import apply_candidates
from onnxshallow.actions.base import FindOptions
from onnxshallow.actions.emission import write_layers
from onnxshallow.actions.fuse import Fuse
from onnxshallow.actions.linearize import Linearize
from onnxshallow.actions.mask import Mask
from onnxshallow.actions.quadratic import Quadratic
from onnxshallow.actions.registry import actions
from onnxshallow.analysis import analyze
from onnxshallow.convolution import convolve, scale_output
from tests.networks import (
    applied,
    assert_near,
    build,
    chain,
    feeds_of,
    operators,
    residual,
    run_exactly,
    some_statistics,
    with_affine,
)


def candidates_of(model, kernel="auto"):
    analysis, options = analyze(model), FindOptions(kernel)
    return {c.key: c for action in (Fuse(), Linearize()) for c in action.find(analysis, options).candidates}


THREE = """(float[N,3,9,9] x) => (float[N,4,H,W] y) {
    a = Conv(x, w1, b1)
    r = Relu(a)
    b = Conv(r, w2, b2)
    q = Relu(b)
    c = Conv(q, w3)
    p = MaxPool<kernel_shape=[1,1]>(c)
    y = Relu(p)
}"""
THREE_WEIGHTS = {"w1": (5, 3, 3, 3), "b1": (5,), "w2": (6, 5, 3, 3), "b2": (6,), "w3": (4, 6, 3, 3)}


def three():
    return build(THREE, **THREE_WEIGHTS)


def test_no_candidates_leave_the_model_as_it_is():
    model = residual()
    assert apply_candidates(analyze(model), [], {}).model is model


@pytest.mark.parametrize("turn", [1, -1])
def test_candidates_are_applied_together_in_whatever_order_they_come(turn):
    model = three()
    found = candidates_of(model, "exact")
    chosen = [found["fuse:5x5:exact:x->b"], found["linearize:b->q"], found["linearize:p->y"]]
    statistics = some_statistics(analyze(model))
    result = applied(model, chosen[::turn], statistics)
    assert operators(result) == ["Conv", "Conv", "MaxPool", "Mul", "Add"]
    feeds = feeds_of(model)
    assert_near(run_exactly(result, feeds)[0], run_exactly(with_affine(model, statistics), feeds)[0], 1e-4)


def test_layers_of_a_later_change_are_fitted_in_place_of_those_that_it_removed():
    model = three()
    found = candidates_of(model)
    chosen = [found["linearize:a->r"], found["linearize:b->q"]]
    rewritten = apply_candidates(analyze(model), chosen, some_statistics(analyze(model)))
    assert rewritten.fit == {"r", "q"}


def test_both_mergers_of_two_residual_blocks_fit_together():
    model = residual()
    found = candidates_of(model)
    chosen = [found["fuse:3x3:r0->r2"], found["fuse:3x3:r2->r4"]]
    result = applied(model, chosen, some_statistics(analyze(model)))
    assert operators(result).count("Relu") == 1
    assert operators(result).count("Conv") == 3


def test_the_analysis_is_of_the_new_model():
    model = three()
    rewritten = apply_candidates(
        analyze(model), [candidates_of(model)["linearize:b->q"]], some_statistics(analyze(model))
    )
    assert [site.output for site in rewritten.analysis.sites] == ["r", "y"]
    assert rewritten.model is rewritten.analysis.network.model


def test_sizes_that_were_given_are_known_of_the_new_model_too():
    model = build("(float[N,3,H,W] x) => (float[N,4,h,w] y) { h = Conv(x, w1) y = Relu(h) }", w1=(4, 3, 3, 3))
    analysis = analyze(model, {"x": (1, 3, 8, 8)})
    assert analysis.cost.relus == 4 * 36
    (candidate,) = Linearize().find(analysis, FindOptions()).candidates
    rewritten = apply_candidates(analysis, [candidate], some_statistics(analysis))
    assert rewritten.analysis.cost.macs == analysis.cost.macs > 0
    assert not rewritten.analysis.cost.unknown


EVERY = (
    FindOptions(deeper=True, granularity="channel", polynomials=True),
    FindOptions("exact", granularity="pixel"),
)


AFTER_A_POOLING = """(float[N,3,4,4] x) => (float[N,3,4,4] y) {
    p = MaxPool<kernel_shape=[1,1]>(x)
    r = Relu(p)
    m = Mul(r, k)
    y = Conv(m, w)
}"""


@pytest.mark.parametrize("options", EVERY, ids=["fitted", "exact"])
@pytest.mark.parametrize(
    "model", [residual(), build(AFTER_A_POOLING, k=(1, 3, 1, 1), w=(3, 3, 1, 1))], ids=["blocks", "a pooling"]
)
def test_every_node_that_is_written_has_a_name_of_its_own(model, options):
    for index, node in enumerate(model.graph.node):
        node.name = f"node {index}"
    analysis = analyze(model)
    statistics = some_statistics(analysis)
    for candidate in (c for action in actions() for c in action.find(analysis, options).candidates):
        names = [node.name for node in apply_candidates(analysis, [candidate], statistics).model.graph.node]
        assert all(names), candidate.key
        assert len(set(names)) == len(names), candidate.key


def test_sites_of_equal_names_keep_their_own_maps():
    model = three()
    for node in model.graph.node:
        node.name = {"Relu": "relu", "Conv": "conv"}.get(node.op_type, "")
    found = candidates_of(model, "exact")
    statistics = some_statistics(analyze(model))
    assert set(statistics) == {"relu", "relu#2", "relu#3"}
    chosen = [found["fuse:5x5:exact:x->b"], found["linearize:p->y"]]
    result = apply_candidates(analyze(model), chosen, statistics).model
    wanted = with_affine(model, {name: statistics[name] for name in ("relu", "relu#3")})
    feeds = feeds_of(model)
    # onnxruntime refuses equal names, so the reference alone is asked
    actual, expected = (ReferenceEvaluator(m).run(None, feeds)[0] for m in (result, wanted))
    assert_near(actual, expected, 1e-4)


def test_metadata_and_untouched_nodes_come_out_as_they_went_in():
    model = residual()
    model.producer_name, model.doc_string, model.domain, model.model_version = "maker", "words", "some.where", 7
    onnx.helper.set_model_props(model, {"key": "value"})
    model.graph.doc_string = "graph words"
    model.graph.node[0].doc_string = "the stem"
    result = applied(model, [candidates_of(model)["linearize:h3->r3"]], some_statistics(analyze(model)))
    for name in ("producer_name", "doc_string", "domain", "model_version"):
        assert getattr(result, name) == getattr(model, name)
    assert list(result.metadata_props) == list(model.metadata_props)
    assert result.graph.doc_string == "graph words"
    assert list(result.graph.node[:7]) == list(model.graph.node[:7])


@pytest.mark.parametrize(("opset", "ir_version"), [(11, 6), (13, 7), (17, 8), (21, 10)])
def test_versions_stay(opset, ir_version):
    model = build(THREE, opset=opset, ir_version=ir_version, **THREE_WEIGHTS)
    result = applied(model, list(candidates_of(model, "exact").values())[:1], some_statistics(analyze(model)))
    feeds = feeds_of(model)
    assert run_exactly(result, feeds)[0].shape == run_exactly(model, feeds)[0].shape


def test_initializers_are_inputs_as_well_in_version_three():
    model = build(THREE, ir_version=8, **THREE_WEIGHTS)
    model.ir_version = 3
    for tensor in model.graph.initializer:
        model.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    onnx.checker.check_model(model)
    candidate = candidates_of(model)["linearize:a->r"]
    result = apply_candidates(analyze(model), [candidate], some_statistics(analyze(model))).model
    onnx.checker.check_model(result, full_check=True)
    listed = {value.name for value in result.graph.input}
    assert {tensor.name for tensor in result.graph.initializer} < listed


# Writing fitted layers.


def test_writing_nothing_returns_the_model_itself():
    analysis = analyze(chain())
    assert write_layers(analysis.network, analysis.layers, {}) is analysis.network.model


def test_written_layers_compute_their_new_convolutions():
    model = chain()
    before = model.SerializeToString(deterministic=True)
    analysis = analyze(model)
    fitted = {
        layer: scale_output(analysis.layers.convolution(layer), 0.5, 0.25 * position)
        for position, layer in enumerate(analysis.layers)
    }
    result = write_layers(analysis.network, analysis.layers, fitted)
    onnx.checker.check_model(result, full_check=True)
    assert model.SerializeToString(deterministic=True) == before
    feeds = feeds_of(model)
    first, second = fitted.values()
    expected = convolve(second, np.maximum(convolve(first, feeds["x"]), 0))
    assert_near(run_exactly(result, feeds)[0], expected)


def test_a_written_layer_is_one_plain_node():
    model = build(
        """(float[N,3,6,6] x) => (float[N,4,6,6] y) {
            p = Pad(x, pads)
            c = Conv(p, w)
            n = BatchNormalization(c, s, b, m, v)
            y = Relu(n)
        }""",
        w=(4, 3, 3, 3),
        pads=np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        **{name: [1.0, 2.0, 3.0, 4.0] for name in "sbmv"},
    )
    analysis = analyze(model)
    (layer,) = analysis.layers
    result = write_layers(analysis.network, analysis.layers, {layer: analysis.layers.convolution(layer)})
    assert operators(result) == ["Conv", "Relu"]
    feeds = feeds_of(model)
    assert_near(run_exactly(result, feeds)[0], run_exactly(model, feeds)[0])


FOLLOWED = """(float[N,3,8,8] x) => (float[N,4,8,8] y) {
    a = Conv<pads=[1,1,1,1]>(x, w1, b1)
    r = Relu(a)
    n = BatchNormalization(r, s, b1, m, v)
    i = Identity(n)
    y = Conv(i, w2)
}"""
FOLLOWED_WEIGHTS = {"w1": (5, 3, 3, 3), "b1": (5,), "s": (5,), "m": (5,), "v": np.ones(5, "f"), "w2": (4, 5, 1, 1)}


def test_a_layer_that_takes_in_what_follows_is_the_one_to_fit():
    model = build(FOLLOWED, **FOLLOWED_WEIGHTS)
    analysis = analyze(model)
    rewritten = apply_candidates(analysis, [candidates_of(model)["linearize:a->r"]], some_statistics(analysis))
    assert rewritten.fit == {"i"}


BLOCKS = """(float[N,4,8,8] x) => (float[N,4,8,8] y) {
    a = Conv(x, w, b)
    r = Relu(a)
    c = Conv(r, w, b)
    s = Add(c, x)
    i = Identity(s)
    d = Conv(i, w, b)
    q = Relu(d)
    e = Conv(q, w, b)
    t = Tanh(x)
    y = Add(e, t)
}"""


def test_a_composite_that_takes_in_what_follows_is_the_one_to_stay():
    model = build(BLOCKS, w=(4, 4, 1, 1), b=(4,))
    analysis = analyze(model)
    found = candidates_of(model, "exact")["fuse:1x1:exact:x->s"]
    assert apply_candidates(analysis, [found], some_statistics(analysis)).frozen == {"i"}


def test_a_merger_does_not_swallow_where_the_next_one_begins():
    model = build(BLOCKS, w=(4, 4, 1, 1), b=(4,))
    found = candidates_of(model, "exact")
    chosen = [found["fuse:1x1:exact:x->s"], found["fuse:1x1:exact:s->e"]]
    statistics = some_statistics(analyze(model))
    rewritten = applied(model, chosen, statistics)
    assert operators(rewritten).count("Conv") == 2
    feeds = feeds_of(model)
    assert_near(run_exactly(rewritten, feeds)[0], run_exactly(with_affine(model, statistics), feeds)[0])


# Several candidates from one analysis.


def in_part(analysis, *kinds):
    """One candidate a site, its actions taking turns."""
    options = FindOptions(granularity="channel", polynomials=True)
    found = [{c.output: c for c in kind().find(analysis, options).candidates} for kind in kinds]
    return [found[place % len(kinds)][site.output] for place, site in enumerate(analysis.sites)]


def looked_at(monkeypatch, model, kinds, *, apart):
    """What comes of a candidate a site, and how many models were analysed for it."""
    analysis, models = analyze(model), []

    def counted(made, *others):
        models.append(made)
        return analyze(made, *others)

    with monkeypatch.context() as patch:
        for kind in kinds:
            patch.setattr(kind, "apart", apart)
        patch.setattr(apply, "analyze", counted)
        rewritten = apply_candidates(analysis, in_part(analysis, *kinds), some_statistics(analysis))
    return rewritten, len(models)


def assert_same(monkeypatch, model, kinds, analyses):
    """Candidates that share analyses, of which there are so many, make what those with one each do."""
    one, count = looked_at(monkeypatch, model, kinds, apart=True)
    other, each = looked_at(monkeypatch, model, kinds, apart=False)
    assert (count, each) == (analyses, len(one.partials))
    assert one.model.SerializeToString(deterministic=True) == other.model.SerializeToString(deterministic=True)
    assert (one.fit, one.frozen) == (other.fit, other.frozen)
    assert [partial.output for partial in one.partials] == [partial.output for partial in other.partials]


BRANCHES = """(float[N,4,8,8] x) => (float[N,4,8,8] y) {
    a = Conv(x, w1)
    b = Conv(x, w2)
    p = Relu(b)
    r = Relu(a)
    s = Add(p, r)
    q = Relu(s)
    y = Conv(q, w1)
}"""


@pytest.mark.parametrize("kinds", [(Mask,), (Quadratic,), (Mask, Quadratic)], ids=str)
@pytest.mark.parametrize(
    "model",
    [three(), residual(), build(BRANCHES, w1=(4, 4, 1, 1), w2=(4, 4, 1, 1))],
    ids=["a chain", "blocks", "branches"],
)
def test_activations_kept_in_part_share_an_analysis(monkeypatch, model, kinds):
    assert_same(monkeypatch, model, kinds, analyses=len(kinds))


NORMALIZED = """(float[N,4,8,8] x) => (float[N,4,8,8] y) {
    a = Conv(x, w1)
    f = Conv(x, w2)
    n = BatchNormalization(a, s, b, m, v)
    r = Relu(n)
    t = Add(f, r)
    y = Relu(t)
}"""


@pytest.fixture
def normalized():
    """A layer of two nodes, between which another stands that is added to it."""
    vectors = {name: np.array([1.0, 2.0, 3.0, 4.0], np.float32) for name in "sbmv"}
    return build(NORMALIZED, w1=(4, 4, 1, 1), w2=(4, 4, 1, 1), **vectors)


def test_layers_that_move_behind_others_are_looked_at_anew(monkeypatch, normalized):
    assert_same(monkeypatch, normalized, (Mask,), analyses=2)


def test_nodes_whose_names_may_get_other_numbers_are_looked_at_anew(monkeypatch, normalized):
    nodes = list(normalized.graph.node)
    del normalized.graph.node[:]
    normalized.graph.node.extend(nodes[index] for index in (0, 2, 3, 1, 4, 5))
    assert_same(monkeypatch, normalized, (Mask,), analyses=1)
    for node in normalized.graph.node:
        node.name = "node"
    assert_same(monkeypatch, normalized, (Mask,), analyses=2)
