"""Streams that channels can be taken out of."""

import numpy as np
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.analysis.narrowing import find_narrowable
from tests.networks import build, chain, residual


def found(model):
    places, reasons = find_narrowable(analyze(model))
    return {place.sites[0].name: place for place in places}, reasons


def between(body, **weights):
    """A layer, something in between, and a layer."""
    return build(
        "(float[N,3,8,8] x) => (float[N,4,a,b] y) { h = Conv<pads=[1,1,1,1]>(x, w) r = Relu(h) "
        f"{body} y = Conv(last, v) }}",
        w=(6, 3, 3, 3),
        v=(4, 6, 1, 1),
        **weights,
    )


def test_two_layers_around_an_activation():
    places, reasons = found(chain())
    ((name, place),) = places.items()
    assert reasons == {}
    assert [site.name for site in place.sites] == [name]
    assert (len(place.makers), len(place.inner), len(place.readers)) == (1, 0, 1)
    assert place.output == place.makers[0].output
    assert place.source == "x"


def test_a_residual_stream_has_all_that_make_and_read_it():
    places, _ = found(residual())
    widest = max(places.values(), key=lambda place: len(place.makers))
    assert len(widest.makers) > 1
    assert len(widest.sites) > 1


@pytest.mark.parametrize(
    "body",
    [
        "last = MaxPool<kernel_shape=[2,2]>(r)",
        "d = Conv<group=6,pads=[1,1,1,1]>(r, k) last = Relu(d)",
        "last = Identity(r)",
        "s = Relu(r) last = Add(r, s)",
        "last = GlobalAveragePool(r)",
    ],
)
def test_what_may_lie_between(body):
    places, reasons = found(between(body, k=(6, 1, 3, 3)))
    assert reasons == {}
    assert len(places) == 1


def test_a_flattened_tensor_is_part_of_the_stream():
    model = build(
        "(float[N,3,4,4] x) => (float[N,5] y) { h = Conv(x, w) r = Relu(h) f = Flatten(r) y = Gemm<transB=1>(f, v) }",
        w=(6, 3, 1, 1),
        v=(5, 96),
    )
    places, _ = found(model)
    ((place),) = places.values()
    assert place.stream.channels == 6
    assert place.readers[0].kind == "gemm"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("s = Sigmoid(r) last = Add(r, s)", "may make other numbers of zeros"),
        ("last = Add(r, k)", "may make other numbers of zeros"),
        ("o = Conv(x, one) last = Sub(r, o)", "adds one channel of another tensor to all of them"),
        ("last = Concat<axis=1>(r)", "lays its channels beside others"),
        ("last = Transpose<perm=[0,1,3,2]>(r)", "those of an input or an output"),
        ("last = Conv<group=2>(r, g)", "those of an input or an output"),
    ],
)
def test_what_may_not(body, reason):
    weights = {"k": np.ones((1, 6, 1, 1), np.float32), "g": (6, 3, 1, 1), "one": (1, 3, 1, 1)}
    places, reasons = found(between(body, **weights))
    assert places == {}
    assert all(reason in text for text in reasons.values())
    assert reasons


def test_the_networks_output_stays():
    model = build("(float[N,3,8,8] x) => (float[N,6,8,8] y) { h = Conv(x, w) y = Relu(h) }", w=(6, 3, 1, 1))
    places, reasons = found(model)
    assert places == {}
    assert "those of an input or an output" in next(iter(reasons.values()))


def test_channels_that_a_pad_adds_stay():
    model = build(
        "(float[N,3,8,8] x) => (float[N,4,8,8] y) { h = Conv(x, w) r = Relu(h) p = Pad(r, pads) "
        "c = Conv(r, u) s = Add(c, p) t = Relu(s) y = Conv(t, v) }",
        w=(6, 3, 1, 1),
        u=(8, 6, 1, 1),
        v=(4, 8, 1, 1),
        pads=np.array([0, 1, 0, 0, 0, 1, 0, 0]),
    )
    places, reasons = found(model)
    assert len(places) == 1
    assert ["adds channels to those of another tensor" in text for text in reasons.values()] == [True]


def test_two_channels_stay():
    places, reasons = found(
        build(
            "(float[N,3,8,8] x) => (float[N,4,8,8] y) { h = Conv(x, w) r = Relu(h) y = Conv(r, v) }",
            w=(2, 3, 1, 1),
            v=(4, 2, 1, 1),
        )
    )
    assert places == {}
    assert list(reasons.values()) == ["it has 2 channels only"]


def test_sizes_that_are_not_known_are_asked_for():
    model = build(
        "(float[N,3,H,W] x) => (float[N,4,H,W] y) { h = Conv(x, w) r = Relu(h) y = Conv(r, v) }",
        w=(6, 3, 1, 1),
        v=(4, 6, 1, 1),
    )
    places, reasons = found(model)
    assert places == {}
    assert "--input-shape" in next(iter(reasons.values()))


def test_what_no_layer_reads_stays():
    model = build(
        "(float[N,3,8,8] x) => (float[N,1,8,8] y) "
        "{ h = Conv(x, w) r = Relu(h) y = ReduceMean<axes=[1],keepdims=1>(r) }",
        w=(6, 3, 1, 1),
    )
    places, reasons = found(model)
    assert places == {}
    assert len(reasons) == 1
