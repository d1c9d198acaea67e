from dataclasses import replace

import pytest

from onnxshallow.analysis import analyze
from onnxshallow.options.config import Config
from onnxshallow.search.solver import Budget
from onnxshallow.search.targets import missed_targets, shares_kept
from tests.runs import net

COST = analyze(net()).cost
SMALLER = replace(COST, relus=COST.relus // 2, macs=COST.macs // 4)
BUDGET = Budget(relus=COST.relus // 2, macs=COST.macs // 2, depth=COST.depth - 1)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"target_relus": 0.5, "target_macs": 0.5}, []),
        ({"target_depth": 0.9}, ["linear layers on the longest path of the"]),
        ({}, []),
    ],
)
def test_only_targets_that_were_asked_for_can_be_missed(asked, words):
    missed = missed_targets(Config(**asked), BUDGET, SMALLER)
    assert len(missed) == len(words)
    for finding, part in zip(missed, words, strict=True):
        assert (finding.about, finding.refuses) == ("target", True)
        assert part in finding.text


def test_each_target_that_is_missed_is_told():
    config = Config(target_relus=0.5, target_macs=0.5)
    texts = [finding.text for finding in missed_targets(config, BUDGET, COST)]
    assert texts[0] == (
        f"The best plan leaves {COST.relus} ReLUs of the {COST.relus // 2} that --target-relus allows; "
        "lower the target a little."
    )
    assert "--target-macs" in texts[1]


def test_what_is_kept_is_told_of_what_was_asked_for():
    assert shares_kept(Config(), COST, SMALLER) == ["50.0 % of the ReLUs"]
    assert shares_kept(Config(target_macs=0.5), COST, SMALLER) == ["25.0 % of the MACs"]
    assert shares_kept(Config(), replace(COST, relus=0), COST) == []
