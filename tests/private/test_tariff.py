"""What a price is: the options that say it, and what a network is charged."""

import pytest

from onnxshallow.analysis import analyze
from onnxshallow.errors import UsageError
from onnxshallow.options.config import Config
from onnxshallow.private.estimate import estimate
from onnxshallow.private.protocols import PROTOCOLS
from onnxshallow.private.tariff import Tariff
from tests.runs import net

NET = analyze(net())


@pytest.mark.parametrize("target", [{}, {"target_relus": 0.5}, {"private_model": "aby3", "rtt": "40ms"}])
def test_without_a_price_there_is_no_tariff(target):
    assert Tariff.from_config(Config(**target)) is None


@pytest.mark.parametrize(
    ("option", "unit"),
    [("target_private", "seconds"), ("target_bytes", "bytes"), ("target_messages", "messages")],
)
def test_a_network_is_charged_what_is_estimated(option, unit):
    tariff = Tariff.from_config(Config(**{option: 0.5}, rtt="40ms", bandwidth="100Mbps"))
    found = estimate(NET, PROTOCOLS["semi2k"], 0.04, 1e8)
    assert tariff.charge(NET) == pytest.approx(getattr(found, unit))
    assert tariff.charge(NET) > 0
    assert tariff.limit(NET) == pytest.approx(0.5 * tariff.charge(NET), abs=1)


def test_a_limit_may_be_a_time_or_a_count():
    assert Tariff.from_config(Config(target_private="3500ms")).limit(NET) == 3.5
    assert Tariff.from_config(Config(target_bytes="20k")).limit(NET) == 20_000


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target_private": 0.5, "target_bytes": 0.5}, "--target-private and --target-bytes are two prices"),
        ({"target_messages": 0.5, "private_model": "cryptflow2"}, "no constant for messages"),
        ({"target_private": 0.5, "rtt": "40"}, "--rtt 40: write a time with its unit"),
        ({"target_private": 0.5, "bandwidth": "fast"}, "--bandwidth fast"),
    ],
)
def test_what_cannot_be_charged_is_refused(options, words):
    with pytest.raises(UsageError, match=words):
        Tariff.from_config(Config(**options))


def test_every_protocol_can_be_asked_for():
    for name in PROTOCOLS:
        assert Tariff.from_config(Config(target_bytes=0.5, private_model=name)).protocol.name == name


def test_the_title_names_what_the_seconds_depend_on():
    seconds = Tariff.from_config(Config(target_private=0.5, private_model="aby3", rtt="40ms", weights="public"))
    assert seconds.title == "seconds under ABY3 with public weights, 40 ms and 1000 Mbit/s"
    assert (
        Tariff.from_config(Config(target_bytes=0.5)).title == "bytes under SEMI2K with a dealer with secret weights"
    )
