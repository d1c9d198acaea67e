"""The options that commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "GOAL",
    "RESULT",
    "BatchSize",
    "Calib",
    "CalibSamples",
    "Channels",
    "ConfigPath",
    "Crop",
    "Granularity",
    "Html",
    "InputShape",
    "Json",
    "Kernel",
    "Layout",
    "LogLevel",
    "MaskForm",
    "MaxData",
    "MaxDrop",
    "MaxTensor",
    "Mean",
    "Measure",
    "Memory",
    "Model",
    "NoCache",
    "NoCorrection",
    "Polynomials",
    "Preset",
    "Providers",
    "Resize",
    "Ridge",
    "Scale",
    "Seed",
    "Std",
    "TargetDepth",
    "TargetLatency",
    "TargetMacs",
    "TargetRelus",
    "Threads",
    "Validate",
    "ValidateSamples",
    "one_of",
]

GOAL = "Goal"
RESULT = "Result"
_DATA = "Calibration and validation data"
_PIXELS = "Preprocessing of uint8 images"
_HOW = "How to work"


def one_of(*values: str) -> Callable[[str], list[str]]:
    """Completion of an option that takes one of `values`."""
    return lambda incomplete: [value for value in values if value.startswith(incomplete)]


Model = Annotated[Path, typer.Argument(metavar="MODEL", help="An .onnx file.")]
Json = Annotated[
    str | None,
    typer.Option("--json", metavar="PATH", help="Write the result as JSON; - for stdout.", rich_help_panel=RESULT),
]
Html = Annotated[
    str | None,
    typer.Option(
        "--html",
        metavar="[PATH]",
        help="Write the report as a page, too [default: MODEL.shallow.html].",
        rich_help_panel=RESULT,
    ),
]
ConfigPath = Annotated[
    Path | None,
    typer.Option("--config", metavar="TOML", help="Options file [default: onnxshallow.toml beside the model]."),
]
LogLevel = Annotated[
    str,
    typer.Option(
        "--log-level",
        metavar="LEVEL",
        help="debug, info, warning or error; logs go to stderr.",
        autocompletion=one_of("debug", "info", "warning", "error"),
    ),
]
InputShape = Annotated[
    list[str] | None,
    typer.Option(
        "--input-shape", metavar="NAME:1,3,224,224", help="Sizes for an input with open axes.", rich_help_panel=_HOW
    ),
]

TargetRelus = Annotated[
    str | None,
    typer.Option(
        "--target-relus",
        metavar="SHARE|COUNT",
        help="Keep at most this share (0.58) or number (320k) of ReLUs.",
        rich_help_panel=GOAL,
    ),
]
TargetMacs = Annotated[
    str | None,
    typer.Option(
        "--target-macs",
        metavar="SHARE|COUNT",
        help="Keep at most this share or number of multiply-adds.",
        rich_help_panel=GOAL,
    ),
]
TargetDepth = Annotated[
    str | None,
    typer.Option(
        "--target-depth",
        metavar="SHARE|COUNT",
        help="Keep at most this share or number of the linear layers on the longest path.",
        rich_help_panel=GOAL,
    ),
]
TargetLatency = Annotated[
    str | None,
    typer.Option(
        "--target-latency",
        metavar="SHARE|TIME",
        help="Take at most this share (0.7) of the latency on this machine, or this time (3.5ms).",
        rich_help_panel=GOAL,
    ),
]
MaxDrop = Annotated[
    float | None,
    typer.Option(
        "--max-drop",
        metavar="FRACTION",
        help="Accuracy that may be lost; alone: go as far as it allows.",
        rich_help_panel=GOAL,
    ),
]
Kernel = Annotated[
    str | None,
    typer.Option(
        "--kernel",
        metavar="auto|exact|3|5",
        help="Kernel of fused convolutions [default: auto].",
        rich_help_panel=GOAL,
        autocompletion=one_of("auto", "exact", "3", "5"),
    ),
]
Granularity = Annotated[
    str | None,
    typer.Option(
        "--granularity",
        metavar="layer|channel|pixel",
        help="Whether a ReLU goes as a whole, or may stay for some channels or pixels [default: layer].",
        rich_help_panel=GOAL,
        autocompletion=one_of("layer", "channel", "pixel"),
    ),
]
Polynomials = Annotated[
    bool, typer.Option("--polynomials", help="Also replace ReLUs by squares.", rich_help_panel=GOAL)
]
MaskForm = Annotated[
    str | None,
    typer.Option(
        "--mask-form",
        metavar="split|prelu",
        help="How a ReLU that stays in part is written [default: split for channels, prelu for pixels].",
        rich_help_panel=_HOW,
        autocompletion=one_of("split", "prelu"),
    ),
]

Calib = Annotated[
    str | None,
    typer.Option(
        "--calib",
        metavar="DATA",
        help=".npz, image folder, or file.py:function; no labels needed.",
        rich_help_panel=_DATA,
    ),
]
CalibSamples = Annotated[
    int | None,
    typer.Option("--calib-samples", metavar="N", help="How many to use [default: 1024].", rich_help_panel=_DATA),
]
Validate = Annotated[
    str | None,
    typer.Option(
        "--validate", metavar="DATA", help="Where accuracy is measured; like --calib.", rich_help_panel=_DATA
    ),
]
ValidateSamples = Annotated[
    int | None,
    typer.Option("--validate-samples", metavar="N", help="How many to use [default: all].", rich_help_panel=_DATA),
]
Preset = Annotated[
    str | None,
    typer.Option(
        "--preset",
        metavar="NAME",
        help="imagenet, cifar10, cifar100 or mnist.",
        rich_help_panel=_PIXELS,
        autocompletion=one_of("imagenet", "cifar10", "cifar100", "mnist"),
    ),
]
Mean = Annotated[
    str | None, typer.Option("--mean", metavar="A,B,C", help="Subtracted from each channel.", rich_help_panel=_PIXELS)
]
Std = Annotated[
    str | None, typer.Option("--std", metavar="A,B,C", help="Divides each channel.", rich_help_panel=_PIXELS)
]
Scale = Annotated[
    float | None,
    typer.Option("--scale", metavar="X", help="Divides pixels first [default: 255].", rich_help_panel=_PIXELS),
]
Layout = Annotated[
    str | None,
    typer.Option(
        "--layout",
        metavar="nchw|nhwc",
        help="Of stored arrays.",
        rich_help_panel=_PIXELS,
        autocompletion=one_of("nchw", "nhwc"),
    ),
]
Resize = Annotated[
    int | None,
    typer.Option("--resize", metavar="PIXELS", help="The shorter side is scaled to this.", rich_help_panel=_PIXELS),
]
Crop = Annotated[
    int | None,
    typer.Option(
        "--crop", metavar="PIXELS", help="The central square of this size is used.", rich_help_panel=_PIXELS
    ),
]
Channels = Annotated[
    str | None,
    typer.Option(
        "--channels",
        metavar="rgb|bgr",
        help="The network's order [default: rgb].",
        rich_help_panel=_PIXELS,
        autocompletion=one_of("rgb", "bgr"),
    ),
]

Measure = Annotated[
    str | None,
    typer.Option(
        "--sensitivity",
        metavar="kl|mse|disagreement|magnitude",
        help="Measure of damage [default: kl].",
        autocompletion=one_of("kl", "mse", "disagreement", "magnitude"),
        rich_help_panel=_HOW,
    ),
]
Ridge = Annotated[
    float | None,
    typer.Option(
        "--ridge", metavar="X", help="Strength of the ridge [default: 0.001; 10 without data].", rich_help_panel=_HOW
    ),
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Measure anew; keep nothing.", rich_help_panel=_HOW)]
NoCorrection = Annotated[
    bool,
    typer.Option("--no-correction", help="Do not re-fit the layers after a change.", rich_help_panel=_HOW),
]
Seed = Annotated[
    int | None, typer.Option("--seed", metavar="N", help="Of everything random [default: 0].", rich_help_panel=_HOW)
]
Memory = Annotated[
    str | None,
    typer.Option(
        "--memory",
        metavar="SIZE",
        help="For the whole process, such as 4G; activations beyond it go to disk [default: half of what is free].",
        rich_help_panel=_HOW,
    ),
]
MaxTensor = Annotated[
    str | None,
    typer.Option(
        "--max-tensor",
        metavar="SIZE",
        help="The largest tensor that a model may compute for one sample [default: 512M].",
        rich_help_panel=_HOW,
    ),
]
MaxData = Annotated[
    str | None,
    typer.Option(
        "--max-data",
        metavar="SIZE",
        help="The most that a data source may hold [default: 16G].",
        rich_help_panel=_HOW,
    ),
]
BatchSize = Annotated[
    int | None, typer.Option("--batch-size", metavar="N", help="Samples a batch [default: 64].", rich_help_panel=_HOW)
]
Threads = Annotated[
    int | None,
    typer.Option("--threads", metavar="N", help="Of onnxruntime [default: all cores].", rich_help_panel=_HOW),
]
Providers = Annotated[
    str | None,
    typer.Option(
        "--providers",
        metavar="A,B",
        help="Execution providers of onnxruntime, such as cuda [default: cpu].",
        rich_help_panel=_HOW,
        autocompletion=one_of("cpu", "cuda", "tensorrt", "openvino", "dml", "coreml"),
    ),
]
