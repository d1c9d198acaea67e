"""Networks against themselves in fixed point."""

import numpy as np
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.model.scales import with_scales
from onnxshallow.validation.fixed_point import fixed_point, fixed_point_findings, smallest_weight
from tests.graphs import parse, signed

TEXT = """(float[N,3,6,6] x) => (float[N,4] y) {
    a = Conv(x, w) r = Relu(a) p = GlobalAveragePool(r) f = Flatten(p) y = Gemm<transB=1>(f, v)
}"""


def found(weight=1.0, reader=1.0, text=TEXT, **options):
    model = parse(text, w=signed("w", (5, 3, 1, 1)) * np.float32(weight), v=signed("v", (4, 5)) * np.float32(reader))
    return fixed_point(analyze(model), [{"x": signed(f"x{n}", (20, 3, 6, 6))} for n in range(2)], **options)


def test_a_plain_network_is_not_lost():
    result = found()
    assert (result.samples, result.fraction_bits, result.field_bits, result.agreement) == (40, 18, 64, 1.0)
    assert 0 < result.error < 1e-4 < result.largest_output
    assert fixed_point_findings(result) == []


def test_ranges_of_sites_and_weights():
    result = found(weight=8.0)
    (site,) = result.sites
    assert site.site == "r"
    assert site.bits == 1 + int(np.ceil(np.log2(site.largest)))
    assert [each.layer for each in result.weights] == ["a", "y"]
    assert all(0 < each.smallest < each.largest for each in result.weights)


def test_a_network_whose_values_vanish_is_refused():
    result = found(weight=1e-6, reader=1e6)
    (finding,) = fixed_point_findings(result, "Do this.")
    assert finding.refuses
    assert finding.about == "accuracy"
    assert "18 bits" in finding.text
    assert "change their class" in finding.text
    assert finding.text.endswith("Do this.")


def test_a_small_error_of_class_by_class_is_refused_too():
    result = found(fraction_bits=7)
    assert result.agreement is not None
    text = " ".join(finding.text for finding in fixed_point_findings(result))
    assert "are off by up to" in text or "change their class" in text


def test_a_network_that_wraps_around_is_refused():
    (finding,) = fixed_point_findings(found(weight=1e8, reader=1e-8))
    assert "wrap around at 1.34e+08" in finding.text


def test_outputs_that_are_no_classes_have_an_error_only():
    text = "(float[N,3,6,6] x) => (float[N,5,6,6] r) { a = Conv(x, w) r = Relu(a) }"
    model = parse(text, w=(5, 3, 1, 1))
    result = fixed_point(analyze(model), [{"x": signed("x", (2, 3, 6, 6))}])
    assert result.agreement is None
    assert result.error > 0


def test_ranges_are_of_values_as_they_are_stored():
    model = parse(TEXT, w=(5, 3, 1, 1), v=(4, 5))
    batches = [{"x": signed("x", (2, 3, 6, 6))}]
    noted = with_scales(model, {"r": np.full(5, 1e-3)})
    first, second = (fixed_point(analyze(each), batches).sites for each in (model, noted))
    assert first == second


def test_nothing_is_said_of_what_was_not_asked_for():
    assert fixed_point_findings(None) == []


@pytest.mark.parametrize(
    ("weights", "expected"),
    [([1.0, 0.5, -0.25], 0.25), ([1.0, 1e-4, 0.5], 0.5), ([1.0, -1e-2], 1e-2), ([0.0, 0.0], 0.0), ([], 0.0)],
)
def test_the_smallest_weight_that_matters(weights, expected):
    assert smallest_weight(np.array(weights)) == expected


def test_a_network_of_squares_alone_has_no_ranges_of_sites():
    result = found(text=TEXT.replace("r = Relu(a)", "r = Mul(a, a)"))
    assert result.sites == ()
    assert (result.samples, result.agreement) == (40, 1.0)
