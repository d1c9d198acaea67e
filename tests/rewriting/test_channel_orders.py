"""The orders of channels, from samples."""

import numpy as np

from onnxshallow.analysis import analyze
from onnxshallow.analysis.narrowing import find_narrowable
from onnxshallow.rewriting.channel_orders import with_orders
from tests.networks import build, calibration_of, residual, signed, smooth, statistics_of


def ordered(model, feeds, steps=None):
    analysis, calibration = analyze(model), calibration_of(feeds)
    places, _ = find_narrowable(analysis)
    plain = statistics_of(analysis, calibration)
    step = (lambda: None) if steps is None else lambda: steps.append(1)
    return places, plain, with_orders(analysis, plain, places, calibration, step)


def test_each_stream_has_one_order_at_all_of_its_sites():
    steps: list[int] = []
    places, plain, found = ordered(residual(), {"x": smooth(64, 3, 8)}, steps)
    assert len(steps) == len(places)
    assert found.keys() == plain.keys()
    for place in places:
        orders = [found[site.name].order for site in place.sites]
        assert sorted(orders[0]) == list(range(place.stream.channels))
        assert all(np.array_equal(order, orders[0]) for order in orders)
    assert all(plain[name].order is None for name in plain)


def test_a_channel_that_holds_nothing_goes_first():
    weight = signed((6, 3, 3, 3))
    weight[4] = 0
    model = build(
        "(float[N,3,8,8] x) => (float[N,4,6,6] y) { h = Conv(x, w) r = Relu(h) y = Conv(r, v) }",
        w=weight,
        v=(4, 6, 1, 1),
    )
    places, _, found = ordered(model, {"x": smooth(64, 3, 8)})
    assert found[places[0].sites[0].name].order[0] == 4


def test_what_is_not_finite_has_no_order():
    model = build(
        "(float[N,3,8,8] x) => (float[N,4,6,6] y) { h = Conv(x, w) r = Relu(h) y = Conv(r, v) }",
        w=(6, 3, 3, 3),
        v=(4, 6, 1, 1),
    )
    x = smooth(64, 3, 8)
    x[0] = np.inf
    places, _, found = ordered(model, {"x": x})
    assert found[places[0].sites[0].name].order is None
