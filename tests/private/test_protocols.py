import pytest

from onnxshallow.errors import UsageError
from onnxshallow.private.protocols import PROTOCOLS, choose_protocols


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
    assert protocol.comparison_bytes > 0
    assert f"{protocol.comparison_bytes:g} bytes" in protocol.comparison_source or "KB" in protocol.comparison_source
    assert (protocol.messages is None) == (protocol.messages_source == "")
    assert (protocol.comparison_seconds is None) == (protocol.seconds_source == "")
    assert protocol.linear is None or protocol.linear.source
