"""Regions are written as one convolution and compared with the network whose sites are scaled and shifted."""

import numpy as np
import onnx
import pytest

from onnxshallow.actions.emission import affine_nodes, layer_nodes
from onnxshallow.analysis import (
    Analysis,
    NotLinearError,
    Region,
    Site,
    analyze,
    find_regions,
    linear_map,
    trace_region,
)
from onnxshallow.model.editor import GraphEditor
from tests.graphs import assert_close, assert_same_function, feeds, ops, parse, positive, run_plain, signed


def affine(site: Site) -> tuple[np.ndarray, np.ndarray]:
    return signed(f"scale of {site.name}", (site.channels,)), signed(f"shift of {site.name}", (site.channels,))


def without_sites(analysis: Analysis, names: tuple[str, ...]) -> onnx.ModelProto:
    """The model with the sites `names` as a Mul and an Add each."""
    editor = GraphEditor(analysis.network.model)
    for name in names:
        site = analysis.site_by_name[name]
        options = dict(name=f"{name}/affine", dtype=site.dtype, rank=site.rank)
        editor.replace([site.output], affine_nodes(editor, *affine(site), site.source, site.output, **options))
    return editor.finish()


def fused(analysis: Analysis, region: Region) -> onnx.ModelProto:
    """The model with `region` as one node, composed."""
    editor = GraphEditor(analysis.network.model)
    found = linear_map(analysis, region, affine)
    assert found.exact == region.exact
    assert found.convolution.kernel_shape == region.shape.kernel_shape
    assert found.convolution.groups == region.groups
    nodes = layer_nodes(
        editor, found.convolution, region.source, region.output, name="fused", dtype=np.dtype(np.float32)
    )
    editor.replace([analysis.network.nodes[index].outputs[0] for index in region.nodes], nodes)
    return editor.finish()


def assert_fuses(model: onnx.ModelProto, source: str, output: str, *, exact: bool, crop: int = 0) -> Region:
    """The region is equal to its composite; everywhere if it says so, else inside a ring of `crop` pixels alone."""
    analysis = analyze(model)
    region = trace_region(analysis, source, output)
    assert region.exact is exact
    rewritten, original = fused(analysis, region), without_sites(analysis, region.sites)
    if exact:
        assert_same_function(rewritten, original)
        return region
    values = feeds(model)
    actual, expected = run_plain(rewritten, values)[0], run_plain(original, values)[0]
    inside = (slice(None), slice(None), *[slice(crop, -crop)] * (actual.ndim - 2))
    assert_close(actual[inside], expected[inside], "interior")
    assert not np.allclose(actual, expected), "the region says that its border is wrong, and it is not"
    return region


def net(body: str, sizes: str = "4,9,8", **weights: object) -> onnx.ModelProto:
    shapes = dict(w=(4, 4, 3, 3), u=(4, 4, 3, 3), b=(4,), p=(4, 4, 1, 1), q=(4, 4, 1, 1), d=(4, 1, 3, 3))
    more = ",".join("hwd"[: sizes.count(",")])
    return parse(f"(float[N,{sizes}] x) => (float[N,c,{more}] y) {{ {body} }}", **{**shapes, **weights})


PAD = "pads=[1,1,1,1]"
NORM = dict(s=(4,), o=(4,), m=(4,), v=positive("v", (4,)))

CHAINS = {
    "valid convs": ("a = Conv(x, w, b) r = Relu(a) y = Conv(r, u, b)", True),
    "padded first": (f"a = Conv<{PAD}>(x, w, b) r = Relu(a) y = Conv(r, u, b)", True),
    "padded second": (f"a = Conv<{PAD}>(x, w, b) r = Relu(a) y = Conv<{PAD}>(r, u, b)", False),
    "1x1 second": (f"a = Conv<{PAD}>(x, w, b) r = Relu(a) y = Conv(r, p, b)", True),
    "1x1 first, its site adds a shift": (f"a = Conv(x, p) r = Relu(a) y = Conv<{PAD}>(r, u, b)", False),
    "Clip": ("a = Conv(x, w, b) r = Clip(a, zero, six) y = Conv(r, u, b)", True),
    "LeakyRelu": ("a = Conv(x, w, b) r = LeakyRelu(a) y = Conv(r, u, b)", True),
    "PRelu": ("a = Conv(x, w, b) r = PRelu(a, slope) y = Conv(r, u, b)", True),
    "strided, dilated": ("a = Conv<strides=[2,1]>(x, w, b) r = Relu(a) y = Conv<dilations=[1,2]>(r, u, b)", True),
    "BatchNormalization": ("a = Conv(x, w) n = BatchNormalization(a, s, o, m, v) r = Relu(n) y = Conv(r, u)", True),
    "pre-activation": ("n = BatchNormalization(x, s, o, m, v) r = Relu(n) y = Conv(r, u)", True),
    "Identity and Dropout": ("a = Conv(x, w) r = Relu(a) i = Identity(r) k = Dropout(i) y = Conv(k, u)", True),
    "three": ("a = Conv(x, w) r = Relu(a) c = Conv(r, u) q2 = Relu(c) y = Conv(q2, p)", True),
    "average pooling": (
        "a = Conv(x, w, b) r = Relu(a) k = AveragePool<kernel_shape=[2,2], strides=[2,2]>(r) y = Conv(k, p, b)",
        True,
    ),
    "pooling that does not count": (
        f"a = Conv(x, w, b) r = Relu(a) k = AveragePool<kernel_shape=[2,2], {PAD}>(r) y = Conv(k, p, b)",
        False,
    ),
    "arithmetic": ("a = Conv(x, w) r = Relu(a) t = Neg(r) k = Sub(six, t) l = Add(e, k) y = Conv(l, u, b)", True),
    "arithmetic before a padded one": (f"a = Conv(x, w) r = Relu(a) k = Add(r, e) y = Conv<{PAD}>(k, u)", False),
    "halves that are joined again": (
        "a = Conv(x, w, b) r = Relu(a) k, l = Split<axis=1>(r, halves) f = Conv(k, h) g = Conv(l, h, two) "
        "t = Relu(g) j = Concat<axis=1>(f, t) y = Conv(j, p, b)",
        True,
    ),
    "negated and joined": (
        "a = Conv(x, w, b) n = Neg(a) j = Concat<axis=1>(a, n) r = Relu(j) k = Gather<axis=1>(r, order) "
        "y = Conv(k, u)",
        True,
    ),
    "blocks": (
        "a = Conv<kernel_shape=[2,1]>(x, tall) r = Relu(a) k = SpaceToDepth<blocksize=2>(r) y = Conv(k, z, b)",
        True,
    ),
}
TAKEN = dict(
    e=(4, 1, 1), h=(2, 2, 1, 1), two=(2,), tall=(4, 4, 2, 1), z=(4, 16, 1, 1), halves=np.array([2, 2]),
    order=np.array([7, 0, 2, 5]), zero=np.zeros((), "f"), six=np.full((), 6, "f"), slope=(4, 1, 1),
)  # fmt: skip


@pytest.mark.parametrize(("body", "exact"), CHAINS.values(), ids=CHAINS)
def test_chains(body, exact):
    model = net(body, **TAKEN, **NORM)
    region = assert_fuses(model, "x", "y", exact=exact, crop=1)
    assert region.sites == tuple(site.name for site in analyze(model).sites)
    assert len(region.nodes) == len(model.graph.node)


@pytest.mark.parametrize("rank", [1, 3])
def test_chains_of_1d_and_3d_convs(rank):
    sizes = ",".join(["4", *"765"[:rank]])
    kernel = (4, 4, *[2] * rank)
    assert_fuses(
        net("a = Conv(x, w, b) r = Relu(a) y = Conv(r, u, b)", sizes, w=kernel, u=kernel), "x", "y", exact=True
    )


def test_chains_of_gemms():
    text = "(float[N,5] x) => (float[N,3] y) { a = Gemm(x, w, b) r = Relu(a) d = Dropout(r) y = MatMul(d, u) }"
    region = assert_fuses(parse(text, w=(5, 4), b=(4,), u=(4, 3)), "x", "y", exact=True)
    assert (region.in_channels, region.out_channels, region.shape.rank) == (5, 3, 0)


BLOCKS = {
    "identity shortcut": ("a = Conv<{0}>(x, w, b) r = Relu(a) c = Conv<{0}>(r, u, b) y = Add(c, x)", False),
    "shortcut first": ("a = Conv<{0}>(x, w, b) r = Relu(a) c = Conv(r, p, b) y = Add(x, c)", True),
    "Sum": ("a = Conv<{0}>(x, w, b) r = Relu(a) c = Conv(r, p, b) y = Sum(x, c)", True),
    "activated sum": ("a = Conv<{0}>(x, w, b) r = Relu(a) c = Conv(r, p, b) k = Add(c, x) y = Relu(k)", True),
    "1x1 strided": (
        """a = Conv<{0}, strides=[2,2]>(x, w, b) r = Relu(a) c = Conv(r, p, b)
           t = Conv<strides=[2,2]>(x, q, b) y = Add(c, t)""",
        True,
    ),
    "1x1 strided, BatchNormalization": (
        """a = Conv<{0}, strides=[2,2]>(x, w) r = Relu(a) c = Conv(r, p) e = BatchNormalization(c, s, o, m, v)
           t = Conv<strides=[2,2]>(x, q) f = BatchNormalization(t, s, o, m, v) y = Add(e, f)""",
        True,
    ),
    "two blocks": (
        """a = Conv<{0}>(x, w, b) r = Relu(a) c = Conv(r, p, b) z = Add(c, x) l = Relu(z)
           e = Conv(l, q, b) k = Relu(e) f = Conv(k, p, b) y = Add(f, l)""",
        True,
    ),
    "two blocks, padded": (
        """a = Conv<{0}>(x, w, b) r = Relu(a) c = Conv(r, p, b) z = Add(c, x) l = Relu(z)
           e = Conv<{0}>(l, w, b) k = Relu(e) f = Conv(k, p, b) y = Add(f, l)""",
        False,
    ),
    "the same tensor twice": ("a = Conv(x, w, b) r = Relu(a) c = Conv(r, u, b) y = Add(c, c)", True),
}


@pytest.mark.parametrize(("body", "exact"), BLOCKS.values(), ids=BLOCKS)
def test_residual_blocks(body, exact):
    model = net(body.format(PAD), **NORM)
    region = assert_fuses(model, "x", "y", exact=exact, crop=1)
    assert len(region.nodes) == len(model.graph.node)


def test_option_a_shortcut():
    """Every second pixel, and zeros for the new channels on both sides."""
    body = f"""a = Conv<{PAD}, strides=[2,2]>(x, w, b) r = Relu(a) c = Conv(r, p, b)
        i = Slice(x, zeros, far, axes, steps) j = Pad(i, pads) y = Add(c, j)"""
    huge = np.iinfo(np.int64).max
    model = net(body, w=(8, 4, 3, 3), b=(8,), p=(8, 8, 1, 1), zeros=np.array([0, 0]), far=np.array([huge, huge]),
                axes=np.array([2, 3]), steps=np.array([2, 2]), pads=np.array([0, 2, 0, 0, 0, 2, 0, 0]))  # fmt: skip
    region = assert_fuses(model, "x", "y", exact=True)
    assert (region.in_channels, region.out_channels, region.shape.strides) == (4, 8, (2, 2))


@pytest.mark.parametrize("padded", [False, True])
def test_inverted_residual(padded):
    pad = PAD if padded else "strides=[1,1]"
    add, bias = ("y = Add(c, x)", "") if padded else ("y = Identity(c)", ", e")
    body = f"""a = Conv(x, up, e) r = Clip(a, zero, six) k = Conv<{pad}, group=8>(r, deep{bias})
        l = Clip(k, zero, six) c = Conv(l, down, b) {add}"""
    model = net(body, up=(8, 4, 1, 1), e=(8,), deep=(8, 1, 3, 3), down=(4, 8, 1, 1),
                zero=np.zeros((), "f"), six=np.full((), 6, "f"))  # fmt: skip
    region = assert_fuses(model, "x", "y", exact=not padded, crop=1)
    assert (region.sites, region.groups, region.shape.kernel_shape) == (("r", "l"), 1, (3, 3))


def test_depthwise_chains_stay_depthwise():
    model = net("a = Conv<group=4>(x, d, b) r = Relu(a) y = Conv<group=4>(r, e, b)", e=(4, 1, 3, 3))
    region = assert_fuses(model, "x", "y", exact=True)
    assert region.groups == 4


def test_a_dense_shortcut_makes_depthwise_chains_dense():
    """The channel Pad is a 1x1 convolution over all channels, though no layer."""
    body = "a = Conv<group=4>(x, d, b) r = Relu(a) c = Conv<group=4>(r, e) j = Pad(x, pads) y = Add(c, j)"
    body = body.replace("group=4>(x", f"group=4, {PAD}>(x")
    model = net(body, e=(4, 1, 1, 1), pads=np.zeros(8, np.int64))
    assert assert_fuses(model, "x", "y", exact=True).groups == 1


def test_a_region_inside_a_network():
    model = net("h = Tanh(x) a = Conv(h, w, b) r = Relu(a) c = Conv(r, u, b) y = Tanh(c)")
    analysis = analyze(model)
    region = assert_fuses(model, "h", "c", exact=True)
    assert ops(fused(analysis, region)) == ["Tanh", "Conv", "Tanh"]


def test_open_height_and_width():
    text = "(float[N,4,H,W] x) => (float[N,4,h,w] y) { a = Conv(x, w, b) r = Relu(a) y = Conv(r, w, b) }"
    model = parse(text, w=(4, 4, 3, 3), b=(4,))
    analysis = analyze(model, {"x": (1, 4, 8, 8)})
    region = trace_region(analysis, "x", "y")
    assert_same_function(fused(analysis, region), without_sites(analysis, region.sites), sizes={"H": 7, "W": 9})


REFUSALS = {
    "does not come from 'x' alone": "a = Conv(x, w) r = Relu(a) c = Conv(r, u) y = Add(c, other)",
    "Exp node 'r' is no convolution": "a = Conv(x, w) r = Exp(a) y = Conv(r, u)",
    "'r' cannot be removed: its bounds": "a = Conv(x, w) r = Clip(a, low) y = Conv(r, u)",
    "are broadcast or of unknown shape": """a = Conv(x, w) r = Relu(a) g = GlobalAveragePool(r)
        c = Conv(r, u) y = Add(c, g)""",
    "cannot be folded": """a = Conv<strides=[2,2]>(x, w) r = Relu(a) c = Conv(r, p)
        k = Conv<strides=[2,2]>(x, four) y = Add(c, k)""",
    "'r' inside is also read by Neg": "a = Conv(x, w) r = Relu(a) n = Neg(r) y = Conv(r, u)",
    "'a' inside is also read by If": """a = Conv(x, w) r = Relu(a) y = Conv(r, u)
        o = If(cond) <then_branch = t () => (float[N,4,6,6] k) { k = Neg(a) },
                      else_branch = e () => (float[N,4,6,6] l) { l = Abs(a) }>""",
    "too many layers or activations": """a = Conv(x, p) r1 = Relu(a) c = Conv(r1, p) r2 = Relu(c) e = Conv(r2, p)
        r3 = Relu(e) f = Conv(r3, p) r4 = Relu(f) y = Conv(r4, p)""",
    "the shape of 'k' or 'y' is not known": "k = mine.Thing(x) a = Conv(k, w) r = Relu(a) y = Conv(r, u)",
}


@pytest.mark.parametrize(("reason", "body"), REFUSALS.items(), ids=REFUSALS)
def test_refusals(reason, body):
    text = f"(float[N,4,8,8] x, float[N,4,4,4] other, float low, bool cond) => (float[N,4,h,w] y) {{ {body} }}"
    model = parse(text, domains=["mine"], w=(4, 4, 3, 3), u=(4, 4, 3, 3), p=(4, 4, 1, 1), four=(4, 4, 4, 4))
    source = "k" if "mine" in body else "x"
    with pytest.raises(NotLinearError, match=reason.replace("(", r"\(")):
        trace_region(analyze(model), source, "y")


def test_an_output_of_the_model_inside():
    text = "(float[N,4,8,8] x) => (float[N,4,4,4] y, float[N,4,6,6] r) { a = Conv(x, w) r = Relu(a) y = Conv(r, w) }"
    analysis = analyze(parse(text, w=(4, 4, 3, 3)))
    with pytest.raises(NotLinearError, match="'r' inside is an output of the model"):
        trace_region(analysis, "x", "y")
    assert "output of the model" in find_regions(analysis)[1]["r"]


@pytest.mark.parametrize(("source", "output"), [("y", "x"), ("r", "a"), ("x", "scalar")])
def test_places_that_are_none(source, output):
    text = """(float[N,4,8,8] x) => (float[N,4,4,4] y, float scalar) { a = Conv(x, w) r = Relu(a) y = Conv(r, w)
        m = ReduceMean<keepdims=0>(y) scalar = Add(m, one) }"""
    with pytest.raises(NotLinearError):
        trace_region(analyze(parse(text, w=(4, 4, 3, 3), one=np.ones((), "f"))), source, output)


def places(model: onnx.ModelProto) -> set[tuple[str, str, tuple[str, ...]]]:
    regions, _ = find_regions(analyze(model))
    return {(region.source, region.output, region.sites) for region in regions}


def test_find_regions_in_a_chain():
    model = net("a = Conv(x, w) r1 = Relu(a) c = Conv(r1, u) r2 = Relu(c) y = Conv(r2, p)")
    assert places(model) == {("x", "c", ("r1",)), ("r1", "y", ("r2",)), ("x", "y", ("r1", "r2"))}


def test_find_regions_folds_the_shortcut_in():
    body = f"a = Conv<{PAD}>(x, w) r = Relu(a) c = Conv<{PAD}>(r, u) s = Add(c, x) y = Relu(s)"
    assert places(net(body)) == {("x", "s", ("r",)), ("x", "y", ("r", "y"))}


def test_find_regions_over_two_blocks():
    body = f"""h = Conv(x, p) r0 = Relu(h)
        a = Conv<{PAD}>(r0, w) r1 = Relu(a) c = Conv<{PAD}>(r1, u) s = Add(c, r0) r2 = Relu(s)
        e = Conv<{PAD}>(r2, w) r3 = Relu(e) f = Conv<{PAD}>(r3, u) t = Add(f, r2) y = Relu(t)"""
    found = places(net(body))
    assert {("r0", "s", ("r1",)), ("r2", "t", ("r3",)), ("r0", "t", ("r1", "r2", "r3"))} <= found
    assert all(len(sites) <= 3 for _, _, sites in found)


def test_every_site_in_no_region_has_a_reason():
    text = """(float[N,4,8,8] x) => (float[N,2] y) { r0 = Relu(x) a = Conv(r0, w) r1 = Relu(a)
        m = MaxPool<kernel_shape=[2,2]>(r1) c = Conv(m, w) r2 = Relu(c) f = Flatten(r2) y = Gemm(f, g) }"""
    analysis = analyze(parse(text, w=(4, 4, 3, 3), g=(36, 2)))
    regions, reasons = find_regions(analysis)
    assert regions == ()
    assert set(reasons) == {"r0", "r1", "r2"}
    assert all(reasons.values())


def test_slicing_the_batch_is_no_shortcut():
    """For one sample it would be the identity."""
    body = """a = Conv(x, p) r = Relu(a) c = Conv(r, q) i = Slice(x, zero, one, zero) y = Add(c, i)"""
    model = net(body, zero=np.array([0]), one=np.array([1]))
    with pytest.raises(NotLinearError, match="Slice"):
        trace_region(analyze(model), "x", "y")


def test_the_reason_for_a_site_names_what_is_wrong_with_its_neighbour():
    """Rather than that there is none."""
    text = """(float[N,3,6,6] x, float[4,4,1,1] w2) => (float[N,4,4,4] y) {
        h = Conv(x, w) r = Relu(h) y = Conv(r, w2) }"""
    _, reasons = find_regions(analyze(parse(text, w=(4, 3, 3, 3))))
    assert reasons["r"].startswith("Conv node 'y' beside it cannot be merged: its weights are an input")


@pytest.mark.parametrize(
    ("pooling", "shape"),
    [
        ("AveragePool<kernel_shape=[2,2], strides=[2,2]>", ((6, 6), (2, 2))),
        ("AveragePool<kernel_shape=[3,3], pads=[1,1,1,1], count_include_pad=1>", ((7, 7), (1, 1))),
    ],
)
def test_a_pooling_by_averages_is_part_of_a_chain(pooling, shape):
    text = (
        f"(float[N,3,8,8] x) => (float[N,5,H,W] y) {{ h = Conv(x, w) r = Relu(h) p = {pooling}(r) y = Conv(p, v) }}"
    )
    analysis = analyze(
        parse(text, w=(4, 3, 3, 3), v=(5, 4, 2 if "2,2" in pooling else 3, 2 if "2,2" in pooling else 3))
    )
    (region,), _ = find_regions(analysis)
    assert (region.source, region.output, region.sites) == ("x", "y", ("r",))
    assert (region.shape.kernel_shape, region.shape.strides) == shape


def test_constants_that_vary_along_a_map_are_named():
    text = """(float[N,3,6,6] x) => (float[N,4,6,6] y) {
        h = Conv<pads=[1,1,1,1]>(x, w) s = Add(h, c) r = Relu(s) y = Conv(r, v) }"""
    _, reasons = find_regions(analyze(parse(text, w=(4, 3, 3, 3), c=(1, 4, 6, 6), v=(4, 4, 1, 1))))
    assert reasons["r"] == "the constant 'c' that is added is not one number a channel"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            "h = Conv(x, w) r = Relu(h) p = MaxPool<kernel_shape=[2,2]>(r) y = Conv(p, v)",
            "MaxPool node 'p' follows it",
        ),
        ("h = Exp(x) r = Relu(h) y = Conv(r, w)", "Exp node 'h' comes before it and is no convolution"),
        ("h = Conv(x, w) y = Relu(h)", "what it makes is an output of the model"),
    ],
)
def test_what_stands_in_place_of_a_convolution_is_named(body, reason):
    model = parse(f"(float[N,3,6,6] x) => (float[N,C,H,W] y) {{ {body} }}", w=(4, 3, 1, 1), v=(4, 4, 1, 1))
    regions, reasons = find_regions(analyze(model))
    assert not regions
    (found,) = reasons.values()
    assert found.startswith(reason)
