"""Of what a model was made, from the report of its run, and back from the model."""

from dataclasses import asdict

import onnx

from onnxshallow.model.document import Document
from onnxshallow.model.provenance import Provenance, provenance_of
from onnxshallow.report.schema.reports import Report
from onnxshallow.report.schema.sections import ProvenanceReport
from onnxshallow.search.inputs import Inputs
from onnxshallow.search.plan import Plan

__all__ = ["provenance", "provenance_report"]


def provenance(version: str, inputs: Inputs, plan: Plan, report: Report, start: Document | None = None) -> Provenance:
    """What a model that was made should say of itself.

    Args:
        version: of onnxshallow.
        inputs: with the original.
        plan: that was carried out.
        report: of the run.
        start: the optimized model whose weights learned, where one was given; what it says of its plan stays true.
    """
    known = None if start is None else provenance_of(start.model)
    what = {change.key: change.what for change in report.changes}
    learned = report.training
    return Provenance(
        version=version,
        input_sha256=inputs.document.sha256,
        plan_sha256=plan.digest if known is None else known.plan_sha256,
        nodes=(
            {node.name: what[node.change] for node in report.original_nodes if node.change in what}
            if known is None
            else known.nodes
        ),
        training=None if learned is None else f"{learned.kept} of {learned.steps} steps",
    )


def provenance_report(model: onnx.ModelProto) -> ProvenanceReport | None:
    """What a model says of itself; None where it says nothing."""
    found = provenance_of(model)
    return None if found is None else ProvenanceReport(**asdict(found))
