"""Of what a model was made, from its plan, and back from the model."""

from dataclasses import asdict

import onnx

from onnxshallow.model.document import Document
from onnxshallow.model.provenance import Provenance, provenance_of
from onnxshallow.report.build.nodes import node_reports
from onnxshallow.report.schema.sections import ProvenanceReport, TrainingReport
from onnxshallow.search.inputs import Inputs
from onnxshallow.search.plan import Plan

__all__ = ["provenance", "provenance_report"]


def provenance(
    version: str, inputs: Inputs, plan: Plan, training: TrainingReport | None = None, start: Document | None = None
) -> Provenance:
    """What a model that was made should say of itself.

    Args:
        version: of onnxshallow.
        inputs: with the original.
        plan: that was carried out.
        training: how its weights learned, where they did.
        start: the optimized model whose weights learned, where one was given; what it says of its plan stays true.
    """
    known = None if start is None else provenance_of(start.model)
    what = {candidate.key: candidate.what for candidate in plan.candidates}
    drawn = node_reports(inputs.analysis, plan.candidates) if known is None else []
    return Provenance(
        version=version,
        input_sha256=inputs.document.sha256,
        plan_sha256=plan.digest if known is None else known.plan_sha256,
        nodes=(
            {node.name: what[node.change] for node in drawn if node.change in what} if known is None else known.nodes
        ),
        training=None if training is None else f"{training.kept} of {training.steps} steps",
    )


def provenance_report(model: onnx.ModelProto) -> ProvenanceReport | None:
    """What a model says of itself; None where it says nothing."""
    found = provenance_of(model)
    return None if found is None else ProvenanceReport(**asdict(found))
