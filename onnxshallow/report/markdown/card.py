"""A model card: what a model that was made is, how good it is, on which data that is known, and what is not known."""

from pathlib import PurePath

from onnxshallow.report.markdown.summary import change_table, closeness
from onnxshallow.report.markdown.text import code, plain, table
from onnxshallow.report.schema.figures import compared, lost
from onnxshallow.report.schema.reports import Report

__all__ = ["model_card"]

# As hubs read it; the licence is the original's, which a file does not tell.
_FRONT = "---\nlibrary_name: onnx\ntags:\n  - onnx\n  - onnxshallow\n---"
# Options that say which data counted.
_DATA = ("calib", "calib-samples", "validate", "validate-samples", "preset", "seed")


def model_card(report: Report) -> str:
    """The card of the model that a run wrote, in Markdown, without a time stamp: the same run gives the same card.

    Args:
        report: of `optimize`, `apply` or `finetune`.
    """
    verdict = report.verdict
    written = report.output or report.model
    parts = [
        _FRONT,
        f"# {plain(PurePath(written.path).stem)}",
        f"Made of {code(PurePath(report.model.path).name)} by onnxshallow {_version(report)}, which makes trained "
        "convolutional networks shallower. Inputs, outputs and their meaning are the original's.",
        table(["", "sha256"], _digests(report), left=2),
        f"**{plain(verdict.line)}**",
        "## Figures",
        *_figures(report),
        "## Data",
        *_data(report),
        "## What was changed",
        change_table(report.changes) if report.changes else "No activation was changed.",
        "## Limits",
        "\n".join(f"- {line}" for line in _limits(report)),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _version(report: Report) -> str:
    return plain(report.versions.get("onnxshallow", ""))


def _digests(report: Report) -> list[list[str]]:
    named = [("original", report.model), ("this model", report.output)]
    return [[what, code(file.sha256)] for what, file in named if file is not None and file.sha256]


def _figures(report: Report) -> list[str]:
    if report.optimized is None:
        return ["No model was made."]
    rows = compared(report.original, report.optimized, report.speed)
    return [table(["", "original", "this model", "ratio"], rows), lost(report.verdict)]


def _data(report: Report) -> list[str]:
    given = [[code(name), plain(str(report.config[name]))] for name in _DATA if name in report.config]
    return [_fitted(report), closeness(report.fidelity), table(["option", "value"], given, left=2) if given else ""]


def _fitted(report: Report) -> str:
    """Which samples the weights have seen, and what became of labels."""
    if not report.config.get("calib"):
        return "Weights were fitted to synthetic images, as no calibration data were given."
    count, training = report.calibration_samples, report.training
    fitted = f"Weights were fitted to {'' if count is None else f'{count} '}unlabelled samples"
    if training is not None and training.labels:
        return f"{fitted}, and learned from {training.samples} samples and their labels."
    learned = " alone" if training is None else f", and learned from the original on {training.samples}"
    return f"{fitted}{learned}; labels served to measure accuracy, where there were any."


def _limits(report: Report) -> list[str]:
    """What speaks against the model, what is to be known of it, and what nobody looked at."""
    verdict = report.verdict
    said = [plain(finding.text) for finding in verdict.findings if finding.refuses]
    said += [f"{plain(remark)}." for remark in verdict.remarks]
    if report.optimized is not None and report.optimized.accuracy is None:
        said.append("No accuracy is known: no labels were given for real samples.")
    if report.verdict.validated:
        said.append("Figures hold for samples like those named above; on others nothing was measured.")
    said.append("Latency was measured on one machine, and says little of another.")
    return said
