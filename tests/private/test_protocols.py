import pytest

from onnxshallow.errors import UsageError
from onnxshallow.private.protocols import PROTOCOLS, choose_protocols, choose_runnable


def names(*texts):
    return [protocol.name for protocol in choose_protocols(texts)]


def test_protocols_are_named_one_by_one_or_together():
    assert names("semi2k", "Delphi, semi2k") == ["semi2k", "delphi"]
    assert names("aby3", "all") == ["delphi", "cryptflow2", "cheetah", "semi2k", "aby3"]
    assert names() == []


@pytest.mark.parametrize("text", ["gazelle", "", "semi2k,"])
def test_an_unknown_protocol_is_refused_with_those_there_are(text):
    with pytest.raises(UsageError, match="choose from delphi, cryptflow2, cheetah, semi2k, aby3, or all"):
        choose_protocols([text])


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=list(PROTOCOLS))
def test_every_constant_has_a_source(protocol):
    assert (protocol.comparison_seconds is None) == (protocol.seconds_source == "")
    for charge in (protocol.comparison, protocol.product, protocol.linear, protocol.scale):
        if charge is not None:
            assert charge.bytes > 0
            assert f"{charge.bytes:g} bytes" in charge.source or "KB" in charge.source
            assert charge.messages is None or "message" in charge.source
    assert bool(protocol.work) == bool(protocol.comparison.work) == bool(protocol.work_source)


def test_the_engine_runs_some_of_them():
    assert [protocol.name for protocol in choose_runnable(["all"])] == ["semi2k", "aby3", "cheetah"]
    with pytest.raises(UsageError, match="--protocol delphi: choose from semi2k, aby3, cheetah, or all"):
        choose_runnable(["delphi"])
