from types import SimpleNamespace

import pytest

from onnxshallow.analysis import analyze
from onnxshallow.options.config import Config
from onnxshallow.private.tariff import Tariff
from onnxshallow.search.solver import Budget
from onnxshallow.search.targets import missed_targets, shares_kept
from tests.runs import net

ORIGINAL = analyze(net())
COST = ORIGINAL.cost
BUDGET = Budget(relus=COST.relus // 2, macs=COST.macs // 2, depth=COST.depth - 1)


def with_cost(**changed):
    """The original with other counts."""
    return SimpleNamespace(cost=SimpleNamespace(**{**vars(COST), **changed}))


SMALLER = with_cost(relus=COST.relus // 2, macs=COST.macs // 4)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"target_relus": 0.5, "target_macs": 0.5}, []),
        ({"target_depth": 0.9}, ["linear layers on the longest path of the"]),
        ({}, []),
    ],
)
def test_only_targets_that_were_asked_for_can_be_missed(asked, words):
    missed = missed_targets(Config(**asked), BUDGET, ORIGINAL, SMALLER)
    assert len(missed) == len(words)
    for finding, part in zip(missed, words, strict=True):
        assert (finding.about, finding.refuses) == ("target", True)
        assert part in finding.text


def test_each_target_that_is_missed_is_told():
    config = Config(target_relus=0.5, target_macs=0.5)
    texts = [finding.text for finding in missed_targets(config, BUDGET, ORIGINAL, ORIGINAL)]
    assert texts[0] == (
        f"The best plan leaves {COST.relus} ReLUs of the {COST.relus // 2} that --target-relus allows; "
        "lower the target a little."
    )
    assert "--target-macs" in texts[1]


def test_what_is_kept_is_told_of_what_was_asked_for():
    assert shares_kept(Config(), ORIGINAL, SMALLER) == ["50.0 % of the ReLUs"]
    assert shares_kept(Config(target_macs=0.5), ORIGINAL, SMALLER) == ["25.0 % of the MACs"]
    assert shares_kept(Config(), with_cost(relus=0), ORIGINAL) == []


@pytest.mark.parametrize(("share", "missed"), [(0.5, True), (1.0, False)])
def test_a_price_that_is_missed_is_told_with_what_it_is(share, missed):
    config = Config(target_bytes=share, private_model="semi2k")
    tariff = Tariff.from_config(config)
    found = missed_targets(config, BUDGET, ORIGINAL, ORIGINAL)
    assert bool(found) == missed
    if missed:
        assert found[0].text.startswith(f"The best plan costs {tariff.charge(ORIGINAL):.4g} bytes of the ")


def test_what_is_kept_of_a_price_is_told_as_an_estimate():
    kept = shares_kept(Config(target_private=0.5, rtt="40ms", bandwidth="100Mbps"), ORIGINAL, ORIGINAL)
    assert kept == [
        "100.0 % of the seconds under SEMI2K with a dealer with secret weights, 40 ms and 100 Mbit/s, estimated"
    ]
    both = shares_kept(Config(target_messages=0.5, target_relus=0.5), ORIGINAL, ORIGINAL)
    assert [words.split(" % of the ")[1].split()[0] for words in both] == ["messages", "ReLUs"]


def test_the_file_that_is_written_counts_and_not_what_was_analysed():
    config, size = Config(target_size=0.5, target_params=0.9), ORIGINAL.cost.size_bytes
    budget = Budget(params=COST.params, size_bytes=size // 2)
    assert missed_targets(config, budget, ORIGINAL, ORIGINAL, size // 2) == []
    (missed,) = missed_targets(config, budget, ORIGINAL, SMALLER, size // 2 + 1)
    assert missed.text.startswith(
        f"The best plan leaves {size // 2 + 1} bytes of the file of the {size // 2} that --target-size"
    )
    assert shares_kept(config, ORIGINAL, ORIGINAL, size // 4) == [
        "100.0 % of the parameters",
        f"{100 * (size // 4) / size:.1f} % of the bytes of the file",
    ]
