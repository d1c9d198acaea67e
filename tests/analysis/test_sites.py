import numpy as np
import pytest

from onnxshallow.analysis import Site, analyze, find_sites
from onnxshallow.analysis.sites import rectifier_bound
from onnxshallow.model.network import Network
from tests.graphs import parse

LOWEST = float(np.finfo(np.float32).min)


def sites(
    body: str, *, opset: int = 17, sizes: str = "N,3,4,5", kind: str = "float", **weights: object
) -> list[Site]:
    weights = dict(zero=0.0, one=1.0, six=6.0, minus=-1.0) | weights
    arrays = {k: np.full((), v, np.float32) if isinstance(v, float) else v for k, v in weights.items()}
    text = f"({kind}[{sizes}] x) => ({kind}[{sizes}] y) {{ {body} }}"
    return list(find_sites(Network(parse(text, opset=opset, **arrays))))


KINDS = [
    ("y = Relu(x)", 17, "relu"),
    ("y = LeakyRelu<alpha=0.1>(x)", 17, "leaky_relu"),
    ("y = PRelu(x, six)", 17, "prelu"),
    ("y = PRelu(x, one)", 17, None),
    ("y = Clip<min=0.0, max=6.0>(x)", 10, "clip"),
    ("y = Clip<min=0.0>(x)", 10, "relu"),
    ("y = Clip<min=0.0, max=3.4028234663852886e+38>(x)", 6, "relu"),
    ("y = Clip<max=6.0>(x)", 10, "clip"),
    ("y = Clip(x)", 10, None),
    ("y = Clip<min=-1.0, max=1.0>(x)", 10, "clip"),
    ("y = Clip<min=0.0, max=-1.0>(x)", 10, None),
    ("y = Clip(x, zero, six)", 11, "clip"),
    ("y = Clip(x, zero)", 17, "relu"),
    ("y = Clip(x, , six)", 17, "clip"),
    ("y = Clip(x)", 17, None),
    ("y = Clip(x, minus, one)", 17, "clip"),
    ("y = Clip(x, one, six)", 17, None),
    ("y = LeakyRelu<alpha=1.0>(x)", 17, None),
    ("y = Clip(x, zero, minus)", 17, None),
    ("y = Clip(x, zero, zero)", 17, None),
    ("y = Clip(x, one, zero)", 17, None),
    ("low = Constant<value = float {0.0}>() high = Identity(six) y = Clip(x, low, high)", 17, "clip"),
    ("y = Sigmoid(x)", 17, None),
    ("y = Max(x, floors)", 17, "max"),
    ("y = Max(floors, x)", 17, None),
    ("y = Max(x, least)", 17, None),
]


@pytest.mark.parametrize(("body", "opset", "kind"), KINDS)
def test_kinds(body, opset, kind):
    weights = {"floors": np.array([[[0.0]], [[LOWEST]], [[0.0]]], np.float32)} if "floors" in body else {}
    found = sites(body, opset=opset, least=LOWEST, **weights)
    assert [site.kind for site in found] == ([kind] if kind else [])


def test_a_max_activates_some_elements_and_compares_all():
    (site,) = sites("y = Max(x, floors)", floors=np.array([[[0.0]], [[LOWEST]], [[0.0]]], np.float32))
    assert (site.size, site.idle, site.comparisons, site.compared) == (40, 20, 1, 60)
    assert sites("y = Relu(x)")[0].idle == 0


def test_what_a_site_knows():
    (site,) = sites("z = BatchNormalization(x, s, s, s, s) y = Clip(z, zero, six)", s=np.ones(3, np.float32))
    assert (site.name, site.node, site.source, site.output) == ("y", 1, "z", "y")
    assert (site.size, site.channels, site.rank, site.dtype) == (60, 3, 2, np.float32)
    assert site.comparisons == 2
    assert site.refusal is None
    assert sites("y = Relu(x)")[0].comparisons == 1


@pytest.mark.parametrize("slope", [(), (3, 1, 1), (1, 3, 1, 1), (5,)])
def test_prelu_slopes_of_every_shape(slope):
    (site,) = sites("y = PRelu(x, slope)", slope=np.full(slope, 0.1, np.float32))
    assert (site.kind, site.size, site.refusal) == ("prelu", 60, None)


@pytest.mark.parametrize("batch", ["N", "1", "4"])
def test_the_size_is_per_sample(batch):
    assert sites("y = Relu(x)", sizes=f"{batch},3,4,5")[0].size == 60


def test_axis_1_is_a_channel_only_after_a_layer():
    text = "(float[N,7,4] x) => (float[N,7,4] y) { z = Conv(x, w) y = Relu(z) }"
    (site,) = find_sites(Network(parse(text, w=(7, 7, 1))))
    assert (site.channels, site.rank) == (7, 1)
    text = "(float[N,7,4] x) => (float[N,7,4] y) { z = MatMul(x, w) y = Relu(z) }"
    (site,) = find_sites(Network(parse(text, w=(4, 4))))
    assert (site.channels, site.rank) == (1, 1)
    (site,) = find_sites(Network(parse("(float[N,7] x) => (float[N,7] y) { y = Relu(x) }")))
    assert (site.channels, site.rank) == (7, 0)


def test_the_channel_axis_survives_sums_and_pools():
    text = """(float[N,3,8,8] x) => (float[N,4,3,3] y) { z = Conv(x, w) s = Add(z, z)
        p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(s) y = Relu(p) }"""
    (site,) = find_sites(Network(parse(text, w=(4, 3, 3, 3))))
    assert site.channels == 4


REFUSALS = [
    ("opset 6 is older than 7", dict(body="y = Relu(x)", opset=6)),
    ("element type is int32", dict(body="y = Relu(x)", kind="int32")),
    ("element type is bfloat16", dict(body="y = Relu(x)", kind="bfloat16")),
    ("no channel axis", dict(body="y = Relu(x)", sizes="7")),
    ("give the open axes with --input-shape", dict(body="y = Relu(x)", sizes="N,3,H,W")),
]


@pytest.mark.parametrize(("reason", "options"), REFUSALS, ids=[reason for reason, _ in REFUSALS])
def test_refusals(reason, options):
    (site,) = sites(**options)
    assert reason in site.refusal
    assert (site.size is None) == ("--input-shape" in reason)


def test_bounds_that_the_caller_decides():
    text = "(float[N,3] x, float low) => (float[N,3] y) { y = Clip(x, low) }"
    (site,) = find_sites(Network(parse(text)))
    assert site.refusal == "its bounds are no constants"
    overridable = parse(
        "(float[N,3] x) => (float[N,3] y) { y = Clip(x, low) }", as_inputs=True, low=np.zeros((), "f")
    )
    (site,) = find_sites(Network(overridable))
    assert site.refusal == "its bounds are no constants"


@pytest.mark.parametrize(
    ("body", "comparisons"),
    [("Relu(x)", 1), ("Clip(x, zero, six)", 2), ("Clip(x, minus, one)", 2), ("Clip(x, minus)", 1),
     ("Clip(x, , six)", 1), ("LeakyRelu(x)", 1)],
)  # fmt: skip
def test_every_bound_takes_a_comparison(body, comparisons):
    assert sites(f"y = {body}")[0].comparisons == comparisons


def test_a_site_without_elements_is_counted_as_none_and_stays():
    nothing = {"start": np.array([0]), "axis": np.array([1])}
    body = "s = Slice(x, start, start, axis) r = Relu(s) n = ReduceSum<keepdims=0>(r) y = Add(x, n)"
    (site,) = sites(body, **nothing)
    assert (site.size, site.refusal) == (0, "it has no elements")


@pytest.mark.parametrize("between", ["Cast<to=10>", "Neg", "Sigmoid"])
def test_what_works_elementwise_keeps_the_channels(between):
    body = f"n = BatchNormalization(x, s, s, s, s) a = {between}(n) r = Relu(a) y = Cast<to=1>(r)"
    assert sites(body, s=np.ones(3, np.float32))[0].channels == 3


def test_bounds_of_integers_are_no_activations():
    low, high = np.array(-1), np.array(6)
    assert not sites("y = Clip(x, low, high)", kind="int64", low=low, high=high)


def test_sites_of_branches_are_as_large_as_what_they_read():
    text = """(float[N,3] x, bool q) => (float[N,3] y) {
        y = If(q) <then_branch = t () => (float[N,3] k) { a = Relu(x) k = Neg(a) },
                   else_branch = e () => (float[N,3] l) { b = Neg(x) c = Relu(b) l = Relu(c) }> }"""
    found = find_sites(Network(parse(text)))
    assert [(site.output, site.size) for site in found] == [("a", 3), ("c", 3), ("l", 3)]


def test_sites_in_functions_that_cannot_be_written_out_are_counted_but_stay():
    function = """<domain: "pkg", opset_import: ["" : 13]> act (a) => (b) { b = Relu(a) }"""
    model = parse("(float[N,3] x) => (float[N,3] y) { y = pkg.act(x) }", domains=["pkg"], functions=function)
    (site,) = find_sites(Network(model))
    assert (site.name, site.node, site.size) == ("y/b", -1, 3)
    assert "inside the local function 'act'" in site.refusal


def test_unknown_rank():
    text = "(float[N,3] x) => (float[N,3] y) { z = mine.Thing(x) y = Relu(z) }"
    (site,) = find_sites(Network(parse(text, domains=["mine"])))
    assert site.refusal is not None
    assert site.size is None


def test_fp16_sites_can_be_removed():
    (site,) = sites("y = Relu(x)", kind="float16")
    assert site.refusal is None
    assert site.dtype == np.float16


def test_open_sizes_can_be_given():
    model = parse("(float[N,3,H,W] x) => (float[N,3,H,W] y) { y = Relu(x) }")
    (site,) = find_sites(Network(model, {"x": (1, 3, 8, 8)}))
    assert (site.size, site.refusal) == (192, None)


def test_sites_in_bodies_are_counted_but_stay():
    text = """(float[N,3] x, bool q) => (float[N,3] y) { a = Relu(x)
        y = If(q) <then_branch = t () => (float[N,3] k) { k = Relu(a) },
                   else_branch = e () => (float[N,3] l) {
            l = If(q) <then_branch = t2 () => (float[N,3] m) { m = LeakyRelu(a) },
                       else_branch = e2 () => (float[N,3] n) { n = Identity(a) }> }> }"""
    found = find_sites(Network(parse(text)))
    assert [(site.name, site.node) for site in found] == [("a", 0), ("y/k", -1), ("y/l/m", -1)]
    assert all("inside the body of If node 'y'" in site.refusal for site in found[1:])


def test_activations_of_constants_and_of_other_domains_are_no_sites():
    assert not sites("k = Relu(one) y = Mul(x, k)")
    model = parse("(float[N,3] x) => (float[N,3] y) { y = mine.Relu(x) }", domains=["mine"])
    assert not find_sites(Network(model))


def test_models_without_and_with_one_site():
    assert sites("y = Neg(x)") == []
    assert len(sites("y = Relu(x)")) == 1


@pytest.mark.parametrize(
    ("body", "bound"),
    [("Relu(x)", np.inf), ("Clip(x, zero, six)", 6.0), ("Clip(x, zero)", np.inf), ("Clip(x, minus)", None),
     ("LeakyRelu(x)", None), ("Clip(x, zero, minus)", None)],
)  # fmt: skip
def test_rectifier_bound(body, bound):
    arrays = {k: np.full((), v, np.float32) for k, v in dict(zero=0, six=6, minus=-1).items()}
    network = Network(parse(f"(float[N,3] x) => (float[N,3] y) {{ y = {body} }}", **arrays))
    assert rectifier_bound(network, network.nodes[0]) == bound


def test_activations_that_no_output_needs_are_no_sites():
    model = parse("(float[N,3] x) => (float[N,3] y) { y = Relu(x) z = Relu(y) }")
    assert [site.name for site in find_sites(Network(model))] == ["y"]


@pytest.mark.parametrize(
    ("shape", "ones", "size"), [((3, 1, 1), [1], 40), ((1, 3, 1, 1), [0, 2], 20), ((5,), [1, 4], 36)]
)
def test_prelu_elements_with_a_slope_of_one_are_not_counted(shape, ones, size):
    slope = np.zeros(shape, np.float32)
    slope.reshape(-1)[ones] = 1
    (site,) = sites("y = PRelu(x, slope)", slope=slope)
    assert (site.kind, site.size) == ("prelu", size)


def test_places_of_a_channel_with_a_slope_of_one_are_not_counted():
    slope = (np.arange(60).reshape(3, 4, 5) % 4 == 0).astype(np.float32)
    (site,) = sites("y = PRelu(x, slope)", slope=slope)
    assert site.size == 45
    assert sites("y = PRelu(x, slope)", sizes="2,3,4,5", slope=slope)[0].size == 45


@pytest.mark.parametrize(
    "body",
    [
        "a, b = Split<axis=1>(n, parts) y0 = Relu(a) y = Concat<axis=1>(y0, b)",
        "a = Gather<axis=1>(n, first) y0 = Relu(a) y = Concat<axis=1>(y0, n)",
        "a = Slice(n, zeros, twos, twos) y0 = Relu(a) y = Concat<axis=1>(y0, n)",
        "a = Where(mask, n, x) y = Relu(a)",
    ],
)
def test_parts_of_channels_are_channels(body):
    constants = {
        "s": np.ones(3, np.float32), "parts": np.array([1, 2]), "first": np.array([0]), "zeros": np.array([0]),
        "twos": np.array([2]), "mask": np.ones((3, 1, 1), bool),
    }  # fmt: skip
    sizes = sites("n = BatchNormalization(x, s, s, s, s) " + body, **constants)
    assert sizes[0].channels > 1 or "parts" in body or "first" in body
    flat = sites("n = Sigmoid(x) " + body, **constants)
    assert flat[0].channels == 1


BEHIND = {  # what stands between a convolution and an activation, the opset, and the channels that it leaves
    "DepthToSpace<blocksize=2>(h)": (17, 2),
    "SpaceToDepth<blocksize=2>(h)": (17, 32),
    "GroupNormalization<num_groups=2>(h, s, s)": (21, 8),
    "LRN<size=3>(h)": (17, 8),
    "GlobalAveragePool(h)": (17, 8),
    "Neg(h)": (17, 8),
    "Erf(h)": (17, 8),
    "Mean(h, h)": (17, 8),
}


@pytest.mark.parametrize(("body", "opset", "channels"), [(body, *rest) for body, rest in BEHIND.items()], ids=BEHIND)
def test_the_channel_axis_is_followed_from_a_layer_before(body, opset, channels):
    scales = dict(s=(8,)) if "s, s" in body else {}
    text = f"(float[N,3,8,8] x) => (float[N,C,H,W] y) {{ h = Conv(x, w) d = {body} r = Relu(d) y = Exp(r) }}"
    sites = analyze(parse(text, opset=opset, w=(8, 3, 1, 1), **scales)).sites
    assert [site.channels for site in sites] == [channels]


@pytest.mark.parametrize("body", ["Transpose<perm=[0,1,3,2]>(x)", "Sin(x)", "Softmax<axis=1>(x)"])
def test_the_channel_axis_is_followed_to_a_layer_behind(body):
    text = f"(float[N,3,8,8] x) => (float[N,C,H,W] y) {{ d = {body} r = Relu(d) e = Exp(r) y = Conv(e, w) }}"
    assert [site.channels for site in analyze(parse(text, w=(8, 3, 1, 1))).sites] == [3]


def test_the_channel_axis_is_followed_through_a_group_normalization_of_several_nodes():
    body = """h = Conv(x, w) g = Reshape(h, apart) n = InstanceNormalization(g, s, s) k = Reshape(n, whole)
        r = Relu(k) y = Exp(r)"""
    targets = dict(apart=np.array([0, 2, -1]), whole=np.array([-1, 8, 8, 8]))
    model = parse(f"(float[N,3,8,8] x) => (float[N,C,H,W] y) {{ {body} }}", w=(8, 3, 1, 1), s=(2,), **targets)
    assert [site.channels for site in analyze(model).sites] == [8]


def test_no_channels_are_made_up_behind_a_reshape():
    body = "h = Conv(x, w) g = Reshape(h, apart) r = Relu(g) y = Exp(r)"
    model = parse(f"(float[N,3,8,8] x) => (float[N,C,H] y) {{ {body} }}", w=(8, 3, 1, 1), apart=np.array([0, 2, -1]))
    assert [site.channels for site in analyze(model).sites] == [1]
