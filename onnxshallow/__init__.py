"""Make trained ONNX convolutional networks shallower, without training and without labels."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnxshallow.analysis import Analysis
    from onnxshallow.comparison import validate
    from onnxshallow.config import Config
    from onnxshallow.errors import OnnxshallowError
    from onnxshallow.front import pareto
    from onnxshallow.pipeline import analyze, apply_plan, measure_sensitivity, optimize, plan
    from onnxshallow.planning.plan import Plan
    from onnxshallow.report.schema import Report
    from onnxshallow.result import Proposal, Result
    from onnxshallow.timing import BenchOptions, bench

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
    "measure_sensitivity",
    "optimize",
    "pareto",
    "plan",
    "validate",
]

__version__ = "0.1.0"

# No module may have the name of a function here: importing it would take the function's place.
_HOMES = {
    "Analysis": "onnxshallow.analysis",
    "BenchOptions": "onnxshallow.timing",
    "Config": "onnxshallow.config",
    "OnnxshallowError": "onnxshallow.errors",
    "Plan": "onnxshallow.planning.plan",
    "Proposal": "onnxshallow.result",
    "Report": "onnxshallow.report.schema",
    "Result": "onnxshallow.result",
    "analyze": "onnxshallow.pipeline",
    "apply_plan": "onnxshallow.pipeline",
    "bench": "onnxshallow.timing",
    "measure_sensitivity": "onnxshallow.pipeline",
    "optimize": "onnxshallow.pipeline",
    "pareto": "onnxshallow.front",
    "plan": "onnxshallow.pipeline",
    "validate": "onnxshallow.comparison",
}


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that importing the package stays fast."""
    if name not in _HOMES:
        raise AttributeError(f"module 'onnxshallow' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
