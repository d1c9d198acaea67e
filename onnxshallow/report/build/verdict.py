"""From a judgement to what a report says of it."""

from collections.abc import Sequence
from typing import Any

from onnxshallow.report.schema.reports import Verdict
from onnxshallow.validation.compare import Comparison
from onnxshallow.validation.judgement import Judgement

__all__ = ["verdict_report"]


def verdict_report(
    judgement: Judgement,
    comparison: Comparison | None,
    facts: Sequence[str],
    remarks: Sequence[str],
    met: str = "Goal met",
) -> Verdict:
    """The verdict, which every command says in the same words.

    Args:
        judgement: of the model.
        comparison: with the original, on real samples; None where there were none.
        facts: what was reached and what was lost, in a few words each.
        remarks: what else is to be said.
        met: what is said first where nothing refuses the model.
    """
    refused = [finding.text for finding in judgement.refusals]
    return Verdict(
        status=judgement.status,
        exit_code=int(judgement.exit_code),
        validated=comparison is not None,
        reasons=[*(finding.text for finding in judgement.findings), *remarks],
        line=judgement.line(facts, met),
        findings=judgement.findings,
        overridden=refused if judgement.forced else [],
        **_lost(comparison),
    )


def _lost(comparison: Comparison | None) -> dict[str, Any]:
    """What is said of lost accuracy; nothing without labels."""
    if comparison is None or comparison.mcnemar is None:
        return {}
    return {
        "accuracy_lost": comparison.accuracy_lost,
        "accuracy_lost_interval": comparison.drop_interval,
        "mcnemar_p": comparison.mcnemar.p_value,
    }
