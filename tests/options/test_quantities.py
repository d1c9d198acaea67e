import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxshallow.errors import UsageError
from onnxshallow.options.quantities import (
    Length,
    parse_bytes,
    parse_latency,
    parse_size,
    parse_target,
    read_length,
)


@pytest.mark.parametrize(
    ("value", "total", "expected"),
    [
        (0.58, 100, 58),
        (0.29, 100, 29),
        ("0.58", 1000, 580),
        (0.999, 10, 9),
        (1, 500, 500),
        (1.0, 500, 500),
        ("320k", 1000, 320_000),
        ("1.2M", 1, 1_200_000),
        ("1.5 g", 1, 1_500_000_000),
        (320000, 5, 320_000),
        (320000.0, 5, 320_000),
        ("1e5", 5, 100_000),
        (0.0001, 10, 0),
        (1e-7, 10**8, 10),
    ],
)
def test_targets(value, total, expected):
    assert parse_target(value, total) == expected


@given(st.integers(1, 100), st.integers(0, 10**12))
def test_a_percentage_is_exact(percent, total):
    assert parse_target(percent / 100, total) == percent * total // 100


@pytest.mark.parametrize("value", [0, -0.5, "", "k", "0.5x", "58%", "nan", float("inf"), "1e999", "1/2", True, None])
def test_targets_that_are_no_positive_number(value):
    with pytest.raises(UsageError, match=r"The target .* cannot be used: it must be a"):
        parse_target(value, 100)


@pytest.mark.parametrize("value", [0, 0.0, "0", "0.0", ".0", " 00 "])
def test_nothing_may_be_asked_for_where_that_is_allowed(value):
    assert parse_target(value, 100, zero=True) == 0
    with pytest.raises(UsageError, match="it must be a"):
        parse_target(value, 100)


@pytest.mark.parametrize("value", [1.5, "1.00001", "0.0001k"])
def test_targets_that_are_neither_fraction_nor_count(value):
    with pytest.raises(UsageError, match="it is neither a fraction up to 1 nor a whole count"):
        parse_target(value, 100)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("4G", 2**32), ("512m", 2**29), ("1.5 GiB", 3 * 2**29), ("2GB", 2**31), ("100", 100), ("1T", 2**40)],
)
def test_bytes(text, expected):
    assert parse_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "G", "-4G", "4X", "0", "four"])
def test_bytes_that_are_none(text):
    with pytest.raises(UsageError, match=f"The size '{text}' cannot be used: write it like 4G or 512M"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.5, 4096), ("0.35", 2867), (1, 8192), ("500kB", 512_000), ("1.5M", 3 << 19), ("2 KiB", 2048), (700, 700)],
)
def test_a_file_is_to_have_a_share_or_a_size(value, expected):
    assert parse_size(value, 8192) == expected


@pytest.mark.parametrize("value", [0, "-1kB", "small", True, "kB"])
def test_what_is_neither_share_nor_size_is_refused(value):
    with pytest.raises(UsageError, match="a fraction up to 1 or a size such as 500kB"):
        parse_size(value, 8192)


@pytest.mark.parametrize(
    ("value", "expected"), [(0.5, 4.0), ("0.25", 2.0), ("3.5ms", 3.5), ("12 ms", 12.0), (1, 8.0)]
)
def test_a_target_is_a_share_or_a_time(value, expected):
    assert parse_latency(value, 8.0) == pytest.approx(expected)


@pytest.mark.parametrize("value", [0, "3", "-1ms", "fast", True, "ms"])
def test_what_is_neither_share_nor_time_is_refused(value):
    with pytest.raises(UsageError, match="cannot be used"):
        parse_latency(value, 8.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10m", Length(600, "seconds")),
        (" 1.5 h", Length(5400, "seconds")),
        ("90S", Length(90, "seconds")),
        ("500steps", Length(500, "steps")),
        ("0.5 epochs", Length(0.5, "epochs")),
    ],
)
def test_a_length_is_a_time_or_a_number(text, expected):
    assert read_length(text) == expected


@pytest.mark.parametrize("text", ["10", "soon", "0s", "-3m", "1.5steps", "3 days", "", 5])
def test_lengths_that_are_none(text):
    with pytest.raises(ValueError, match=r"it must be a time such as 10m|steps are whole"):
        read_length(text)
