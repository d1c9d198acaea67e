"""`analyze`: what a model consists of, without running it on data."""

from collections.abc import Mapping, Sequence

from onnxshallow.analysis import Analysis
from onnxshallow.analysis import analyze as analyze_model
from onnxshallow.model.document import ModelSource, as_document
from onnxshallow.options.arguments import read_arguments

__all__ = ["analyze"]


def analyze(
    model: ModelSource,
    *,
    input_shape: Mapping[str, Sequence[int]] | None = None,
    max_tensor: str | None = None,
    freeze_weights: bool = False,
) -> Analysis:
    """Find the parts of a model and count what it costs, without running it on data.

    Args:
        model: a path, a model in memory, or a document.
        input_shape: sizes for open axes, by input name.
        max_tensor: see `Config`.
        freeze_weights: see `Config`.

    Raises:
        UsageError: an option is invalid.
        ModelError: a model that cannot be used.
    """
    options = {"input_shape": input_shape, "max_tensor": max_tensor, "freeze_weights": freeze_weights}
    config = read_arguments(model, None, options)
    document = as_document(model, config.tensor_limit, freeze=config.freeze_weights).measurable(scores=False)
    return analyze_model(document.plain.model, document.sizes(config.input_shape))
