"""Every option: what it may be, what it is when it is not given, and what is said of it.

The flags of the command line, the arguments of the Python functions, the options file and the reference are made of
the fields of `Config`. Names are snake_case in Python and kebab-case in the file and on the command line. numpy is
imported late, so that `--help` stays fast.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from onnxshallow.options.flags import (
    CHANGES,
    DATA,
    EFFORT,
    FITTING,
    GATES,
    GOAL,
    MACHINE,
    PIXELS,
    PRIVATE,
    RESULT,
    TRAINING,
    WORKERS,
    Flag,
    Option,
)
from onnxshallow.options.forms import (
    Bytes,
    Data,
    FileSize,
    Kept,
    Kinds,
    Latency,
    Long,
    Names,
    Numbers,
    Reads,
    Resize,
    Shapes,
    Size,
    Target,
    Time,
    text_of,
)
from onnxshallow.options.presets import PRESETS, Preset
from onnxshallow.options.quantities import parse_bytes

__all__ = ["OPTIONS", "Config"]

_PRICES = ("target_private", "target_bytes", "target_messages")


class Config(BaseModel):
    """The options of a run, checked. All of them can stand in `onnxshallow.toml`."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        alias_generator=lambda name: name.replace("_", "-"),
        defer_build=True,  # `--help` reads the fields and checks nothing
    )

    target_relus: Annotated[
        Kept,
        Flag(
            "Keep at most this share (0.58) or number (320k) of ReLUs; 0: squares alone.",
            GOAL,
            "SHARE|COUNT",
            also=("--target-activations",),
        ),
    ] = None
    target_macs: Annotated[
        Target, Flag("Keep at most this share or number of multiply-adds.", GOAL, "SHARE|COUNT")
    ] = None
    target_params: Annotated[
        Target, Flag("Keep at most this share or number of parameters.", GOAL, "SHARE|COUNT")
    ] = None
    target_size: Annotated[
        FileSize, Flag("Write a file of at most this share, or of this size (500kB).", GOAL, "SHARE|SIZE")
    ] = None
    target_depth: Annotated[
        Target,
        Flag("Keep at most this share or number of the linear layers on the longest path.", GOAL, "SHARE|COUNT"),
    ] = None
    target_latency: Annotated[
        Latency,
        Flag(
            "Take at most this share (0.7) of the latency on this machine, or this time (3.5ms).", GOAL, "SHARE|TIME"
        ),
    ] = None
    target_private: Annotated[
        Latency,
        Flag(
            "Take at most this share (0.6) of the seconds of private inference, or this time (3500ms).",
            PRIVATE,
            "SHARE|TIME",
        ),
    ] = None
    target_bytes: Annotated[
        Target, Flag("Send at most this share or number of bytes, all parties together.", PRIVATE, "SHARE|COUNT")
    ] = None
    target_messages: Annotated[
        Target, Flag("Send at most this share or number of messages.", PRIVATE, "SHARE|COUNT")
    ] = None
    private_model: Annotated[
        Literal["delphi", "cryptflow2", "cheetah", "semi2k", "aby3"] | None,
        Flag("Protocol whose price counts.", PRIVATE, default="semi2k where a target needs one"),
    ] = None
    rtt: Annotated[str, Flag("Round trip between the parties.", PRIVATE, "TIME")] = "1ms"
    bandwidth: Annotated[str, Flag("Between the parties.", PRIVATE, "RATE")] = "1Gbps"
    weights: Annotated[
        Literal["secret", "public"], Flag("Whether the network's weights are shared as secrets.", PRIVATE)
    ] = "secret"
    max_drop: Annotated[
        float | None,
        Field(ge=0, le=1),
        Flag("Accuracy that may be lost; alone: go as far as it allows.", GOAL, "FRACTION"),
    ] = None
    min_agreement: Annotated[
        float | None,
        Field(ge=0, le=1),
        Flag("Samples to which both models must give the same class.", GATES, "FRACTION"),
    ] = None
    max_error: Annotated[
        float | None,
        Field(ge=0, allow_inf_nan=False),
        Flag("Largest relative error of an output; for integers the share of unequal elements.", GATES, "FRACTION"),
    ] = None

    kernel: Annotated[
        Literal["auto", "exact", "3", "5"],
        Reads(text_of, Literal["auto", "exact", "3", "5", 3, 5]),
        Flag("Kernel of fused convolutions.", CHANGES),
    ] = "auto"
    granularity: Annotated[
        Literal["auto", "layer", "channel", "pixel"],
        Flag(
            "Whether a ReLU goes as a whole, or may stay for some channels or pixels; auto: for channels where whole "
            "ReLUs miss the target, or with --polynomials lose far more.",
            CHANGES,
        ),
    ] = "auto"
    allocation: Annotated[
        Literal["measured", "even", "minmax"],
        Flag(
            "How ranks are spread over layers that are split: by measured damage; or without samples, such that the "
            "relative errors of their weights are about even, or that the largest of them is least.",
            CHANGES,
        ),
    ] = "measured"
    polynomials: Annotated[bool, Flag("Also replace ReLUs by squares.", CHANGES)] = False

    calib: Annotated[Data, Flag(".npz, image folder, or file.py:function; no labels needed.", DATA, "DATA")] = None
    calib_samples: Annotated[Size, Flag("How many to use.", DATA)] = 1024
    validate_data: Annotated[
        Data, Field(alias="validate"), Flag("Where accuracy is measured; like --calib.", DATA, "DATA")
    ] = None
    validate_samples: Annotated[Size | None, Flag("How many to use.", DATA, default="all")] = None

    preset: Annotated[Preset | None, Flag(f"{', '.join(PRESETS)}.", PIXELS, "NAME")] = None
    preprocessor: Annotated[
        str | None,
        Flag("A preprocessor_config.json of Hugging Face; other options count more.", PIXELS, "PATH"),
    ] = None
    mean: Annotated[Numbers, Flag("Subtracted from each channel.", PIXELS, "A,B,C")] = None
    std: Annotated[Numbers, Flag("Divides each channel.", PIXELS, "A,B,C")] = None
    scale: Annotated[float, Field(gt=0), Flag("Divides pixels first.", PIXELS, "X")] = 255.0
    layout: Annotated[Literal["nchw", "nhwc"] | None, Flag("Of stored arrays.", PIXELS)] = None
    resize: Annotated[
        Resize, Flag("The shorter side is scaled to this, or height and width to 48x192.", PIXELS, "PIXELS")
    ] = None
    interpolation: Annotated[
        Literal["bilinear", "bicubic"], Flag("How images are scaled, antialiased as Pillow does.", PIXELS)
    ] = "bilinear"
    crop: Annotated[Size | None, Flag("The central square of this size is used.", PIXELS, "PIXELS")] = None
    channels: Annotated[Literal["rgb", "bgr"], Flag("The network's order.", PIXELS)] = "rgb"

    time_budget: Annotated[
        Time, Flag("Work on fewer samples and plans, if need be, so that a run takes no longer.", EFFORT, "TIME")
    ] = None
    sensitivity: Annotated[
        Literal["kl", "mse", "disagreement", "magnitude"],
        Flag("Measure of damage; kl: of class outputs, softened by a temperature of 2.", FITTING),
    ] = "kl"
    ridge: Annotated[
        float | None,
        Field(ge=0, allow_inf_nan=False),
        Flag("Strength of the ridge.", FITTING, "X", default="0.001; 10 without data"),
    ] = None
    correction: Annotated[
        bool,
        Flag("Re-fit the layers after a change.", FITTING, negative="Do not re-fit the layers after a change."),
    ] = True
    metadata: Annotated[
        bool,
        Flag(
            "Say in the model's metadata of what it was made, and how.",
            RESULT,
            negative="Leave out of the model of what it was made, and how.",
        ),
    ] = True
    mask_form: Annotated[
        Literal["split", "prelu", "max"] | None,
        Flag(
            "How a ReLU that stays in part is written; max is fast, and of no use to private inference.",
            FITTING,
            default="split for channels, prelu for pixels",
        ),
    ] = None

    finetune: Annotated[
        Long, Flag("Let weights learn from the original at the end: 10m, 500steps, 3epochs.", TRAINING, "LENGTH")
    ] = None
    augment: Annotated[
        Literal["none", "flip", "crop", "mixup"] | None,
        Flag(
            "What is done to images that are learned from; each also does what those before it do.",
            TRAINING,
            default="for classes of images mixup; less where the original errs; else none",
        ),
    ] = None
    train_samples: Annotated[
        Size | None, Flag("How many samples of --calib to learn from.", TRAINING, default="all but those held out")
    ] = None
    labels: Annotated[bool, Flag("Also learn from the labels of --calib, which nothing else reads.", TRAINING)] = (
        False
    )

    input_shape: Annotated[Shapes, Flag("Sizes for an input with open axes.", MACHINE, "NAME:1,3,224,224")] = None
    freeze_weights: Annotated[bool, Flag("Take weights that may be replaced off the inputs.", MACHINE)] = False
    output_kind: Annotated[
        Kinds,
        Flag(
            "What an output means: classes, scores, boxes, embedding, regression or mask.",
            MACHINE,
            "NAME=KIND",
            default="guessed, and told",
        ),
    ] = None
    seed: Annotated[int, Field(ge=0), Flag("Of everything random.", MACHINE)] = 0
    memory: Annotated[
        Bytes,
        Flag(
            "For the whole process, as 4G; activations beyond go to disk.",
            MACHINE,
            "SIZE",
            default="half of the free",
        ),
    ] = None
    batch_size: Annotated[Size, Flag("Samples a batch.", MACHINE)] = 64
    threads: Annotated[Size | None, Flag("Of onnxruntime.", MACHINE, default="all cores")] = None
    workers: Annotated[
        Size | None, Flag("Processes to work on candidates and plans with.", WORKERS, default="this one")
    ] = None
    cluster: Annotated[
        str | None, Flag("A dask cluster that is running, to work on them there.", WORKERS, "tcp://HOST:PORT")
    ] = None
    providers: Annotated[
        Names,
        Flag(
            "Execution providers of onnxruntime, with device and options where wanted: trt:0:trt_fp16_enable=1,cuda.",
            MACHINE,
            "A,B",
            default="cpu",
            values=("cpu", "cuda", "trt", "openvino", "dml", "coreml"),
        ),
    ] = None
    max_tensor: Annotated[
        Bytes, Flag("The largest tensor that a model may compute for one sample.", MACHINE, "SIZE", default="512M")
    ] = None
    max_data: Annotated[Bytes, Flag("The most that a data source may hold.", MACHINE, "SIZE", default="16G")] = None

    @field_validator("*", mode="before")
    @classmethod
    def _check_switch(cls, value: object, info: ValidationInfo) -> object:
        """Refuse true where a number is meant, as which it would be 1: a gate that lets everything pass."""
        if isinstance(value, bool) and cls.model_fields[info.field_name or ""].annotation is not bool:
            raise ValueError("it is no switch; give a value")
        return value

    @field_validator("mask_form")
    @classmethod
    def _check_form(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value == "split" and info.data.get("granularity") == "pixel":
            raise ValueError(
                "pixel masks have only the prelu form; leave it out, or take granularity channel, whose masks can be "
                "split"
            )
        if value == "max" and any(info.data.get(name) is not None for name in _PRICES):
            raise ValueError(
                "a Max compares every element, which saves nothing under secure computation; leave it out, or "
                "take split"
            )
        return value

    @property
    def has_target(self) -> bool:
        """Whether there is any target besides an accuracy budget."""
        counted = (self.target_relus, self.target_macs, self.target_depth, self.target_latency)
        return self.has_price or self.has_weight or any(target is not None for target in counted)

    @property
    def has_weight(self) -> bool:
        """Whether the parameters or the size of the file are limited."""
        return self.target_params is not None or self.target_size is not None

    @property
    def lighter(self) -> bool:
        """Whether less work, fewer weights or less time are asked for, and damage is measured."""
        asked = self.has_weight or self.target_macs is not None or self.target_latency is not None
        return asked and self.kernel != "exact" and self.sensitivity != "magnitude"

    @property
    def has_price(self) -> bool:
        """Whether what private inference costs is limited."""
        return any(getattr(self, name) is not None for name in _PRICES)

    @property
    def squares(self) -> bool:
        """Whether activations may become squares: where that is asked for, or where they lower a price."""
        return self.polynomials or self.has_price

    @property
    def form(self) -> Literal["split", "prelu", "max"]:
        """How activations that stay in part are written; masks of pixels have one form in any case."""
        return self.mask_form or "split"

    @property
    def in_part(self) -> bool:
        """Whether activations may stay in part or become squares, and not only go layer by layer.

        `auto` begins with whole layers.
        """
        return self.granularity in ("channel", "pixel") or self.squares

    @property
    def masks_in_gaps(self) -> bool:
        """Whether channel masks are a choice where whole layers miss a target: `auto`.

        They are none where damages are read off the weights, where kernels are to be exact, and where ReLUs are
        limited for the sake of latency alone.
        """
        faster = self.target_latency is not None and self.target_relus is None
        measured = self.kernel != "exact" and self.sensitivity != "magnitude"
        return self.granularity == "auto" and measured and not faster

    @property
    def tensor_limit(self) -> int:
        """The most bytes that a tensor of a model may take for one sample."""
        from onnxshallow.model.guard.limits import MAX_TENSOR

        return MAX_TENSOR if self.max_tensor is None else parse_bytes(self.max_tensor)

    @property
    def data_limit(self) -> int | None:
        """The most bytes that one source of samples may hold, unpacked; None where the user did not say."""
        return None if self.max_data is None else parse_bytes(self.max_data)


OPTIONS = tuple(Option.from_field(name, field) for name, field in Config.model_fields.items())
"""The options, in the order of the help."""
