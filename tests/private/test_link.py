import pytest

from onnxshallow.errors import UsageError
from onnxshallow.private.link import parse_bandwidth, parse_rtt


@pytest.mark.parametrize(
    ("text", "seconds"), [("10ms", 0.01), ("0.5 ms", 0.0005), ("200us", 0.0002), ("1S", 1.0), ("0ms", 0.0)]
)
def test_a_round_trip_is_a_time_with_a_unit(text, seconds):
    assert parse_rtt(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["10", "ms", "-1ms", "1h", "1ms 2ms", "nan ms", ""])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(UsageError, match="--rtt"):
        parse_rtt(text)


@pytest.mark.parametrize(
    ("text", "bits"),
    [("1Gbps", 1e9), ("100Mbit/s", 1e8), ("50 MB/s", 4e8), ("1.5Gb/s", 1.5e9), ("9600bps", 9600), ("1kBps", 8000)],
)
def test_a_bandwidth_is_a_rate_in_bits_or_bytes(text, bits):
    assert parse_bandwidth(text) == pytest.approx(bits)


@pytest.mark.parametrize("text", ["1G", "0Gbps", "fast", "-1Gbps", "1 GBP", ""])
def test_what_is_no_rate_is_refused(text):
    with pytest.raises(UsageError, match="--bandwidth"):
        parse_bandwidth(text)
