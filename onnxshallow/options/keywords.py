"""The options as keyword arguments, for type checkers and editors; made of `onnxshallow.options.schema`."""

from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict

__all__ = ["Options"]

# What follows is written by tools/keywords.py.


class Options(TypedDict, total=False):
    """The options as keyword arguments; None is as good as not given."""

    target_relus: float | str | None
    target_activations: float | str | None
    target_macs: float | str | None
    target_params: float | str | None
    target_size: float | str | None
    target_depth: float | str | None
    target_latency: float | str | None
    target_private: float | str | None
    target_bytes: float | str | None
    target_messages: float | str | None
    private_model: Literal["delphi", "cryptflow2", "cheetah", "semi2k", "aby3"] | None
    rtt: str | None
    bandwidth: str | None
    weights: Literal["secret", "public"] | None
    max_drop: float | None
    min_agreement: float | None
    max_error: float | None
    kernel: Literal["auto", "exact", "3", "5", 3, 5] | None
    granularity: Literal["auto", "layer", "channel", "pixel"] | None
    allocation: Literal["measured", "even", "minmax"] | None
    polynomials: bool | None
    calib: object
    calib_samples: int | None
    validate_data: object
    validate: object
    validate_samples: int | None
    preset: Literal["imagenet", "cifar10", "cifar100", "mnist"] | None
    preprocessor: str | None
    mean: float | str | Sequence[float] | None
    std: float | str | Sequence[float] | None
    scale: float | None
    layout: Literal["nchw", "nhwc"] | None
    resize: int | str | Sequence[int] | None
    interpolation: Literal["bilinear", "bicubic"] | None
    crop: int | None
    channels: Literal["rgb", "bgr"] | None
    time_budget: str | None
    sensitivity: Literal["kl", "mse", "disagreement", "magnitude"] | None
    ridge: float | None
    correction: bool | None
    metadata: bool | None
    mask_form: Literal["split", "prelu", "max"] | None
    finetune: str | None
    augment: Literal["none", "flip", "crop", "mixup"] | None
    train_samples: int | None
    labels: bool | None
    input_shape: Mapping[str, Sequence[int]] | str | Sequence[str] | None
    freeze_weights: bool | None
    output_kind: Mapping[str, str] | str | Sequence[str] | None
    seed: int | None
    memory: int | str | None
    batch_size: int | None
    threads: int | None
    workers: int | None
    cluster: str | None
    providers: str | Sequence[str] | None
    max_tensor: int | str | None
    max_data: int | str | None
