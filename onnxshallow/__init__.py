"""Make trained ONNX convolutional networks shallower, without training and without labels."""

from typing import TYPE_CHECKING, Any

from onnxshallow.versions import __version__ as __version__

if TYPE_CHECKING:
    from onnxshallow.analysis import Analysis
    from onnxshallow.errors import OnnxshallowError
    from onnxshallow.options.config import Config
    from onnxshallow.report.schema.reports import Report
    from onnxshallow.search.plan import Plan
    from onnxshallow.workflows.analyze import analyze
    from onnxshallow.workflows.apply import apply_plan
    from onnxshallow.workflows.bench import BenchOptions, bench
    from onnxshallow.workflows.finetune import finetune
    from onnxshallow.workflows.optimize import optimize, plan
    from onnxshallow.workflows.pareto import pareto
    from onnxshallow.workflows.plot import plot
    from onnxshallow.workflows.result import Proposal, Result
    from onnxshallow.workflows.sensitivity import measure_sensitivity
    from onnxshallow.workflows.validate import validate

__all__ = [
    "Analysis",
    "BenchOptions",
    "Config",
    "OnnxshallowError",
    "Plan",
    "Proposal",
    "Report",
    "Result",
    "analyze",
    "apply_plan",
    "bench",
    "finetune",
    "measure_sensitivity",
    "optimize",
    "pareto",
    "plan",
    "plot",
    "validate",
]

_HOMES = {
    "Analysis": "onnxshallow.analysis",
    "BenchOptions": "onnxshallow.workflows.bench",
    "Config": "onnxshallow.options.config",
    "OnnxshallowError": "onnxshallow.errors",
    "Plan": "onnxshallow.search.plan",
    "Proposal": "onnxshallow.workflows.result",
    "Report": "onnxshallow.report.schema.reports",
    "Result": "onnxshallow.workflows.result",
    "analyze": "onnxshallow.workflows.analyze",
    "apply_plan": "onnxshallow.workflows.apply",
    "bench": "onnxshallow.workflows.bench",
    "finetune": "onnxshallow.workflows.finetune",
    "measure_sensitivity": "onnxshallow.workflows.sensitivity",
    "optimize": "onnxshallow.workflows.optimize",
    "pareto": "onnxshallow.workflows.pareto",
    "plan": "onnxshallow.workflows.optimize",
    "plot": "onnxshallow.workflows.plot",
    "validate": "onnxshallow.workflows.validate",
}


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that importing the package stays fast.

    Functions that are called so speak Python in their errors; the command line calls them by their modules.
    """
    if name not in _HOMES:
        raise AttributeError(f"module 'onnxshallow' has no attribute {name!r}")
    from importlib import import_module

    try:
        found = getattr(import_module(_HOMES[name]), name)
    except ImportError as error:
        from onnxshallow.errors import RuntimeMissingError
        from onnxshallow.versions import runtime_problem

        if (problem := runtime_problem()) is not None:
            raise RuntimeMissingError(problem) from error
        raise
    if isinstance(found, type):
        return found
    from onnxshallow.options.python import speaking_python

    return speaking_python(found)
