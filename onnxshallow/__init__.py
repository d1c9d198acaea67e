"""Make trained ONNX convolutional networks shallower, without training and without labels."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnxshallow.analysis import Analysis, analyze
    from onnxshallow.config import Config
    from onnxshallow.errors import OnnxshallowError
    from onnxshallow.pipeline import Result, apply_plan, optimize
    from onnxshallow.report.schema import Report

__all__ = ["Analysis", "Config", "OnnxshallowError", "Report", "Result", "analyze", "apply_plan", "optimize"]

__version__ = "0.1.0"

_HOMES = {
    "Analysis": "onnxshallow.analysis",
    "Config": "onnxshallow.config",
    "OnnxshallowError": "onnxshallow.errors",
    "Report": "onnxshallow.report.schema",
    "Result": "onnxshallow.pipeline",
    "analyze": "onnxshallow.analysis",
    "apply_plan": "onnxshallow.pipeline",
    "optimize": "onnxshallow.pipeline",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that importing the package stays fast."""
    if name not in _HOMES:
        raise AttributeError(f"module 'onnxshallow' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
