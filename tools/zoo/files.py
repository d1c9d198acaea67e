"""What a trained network leaves in `models/`: its ONNX file, and its images where they may be given away."""

import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from zoo.images import Images

__all__ = ["export", "write_data"]


def export(network: nn.Module, sample: Tensor, path: Path) -> None:
    """Write the network as ONNX: opset 17, IR 8, a symbolic batch, BatchNormalization left as it is.

    Args:
        network: in evaluation mode.
        sample: one batch of inputs, (N, C, H, W).
        path: the file to write.
    """
    with warnings.catch_warnings():
        # The TorchScript exporter needs no further package, and names nodes after the modules.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (sample,),
            str(path),
            dynamo=False,
            opset_version=17,
            input_names=["image"],
            output_names=["logits"],
            dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
            # In mode EVAL it would fold every BatchNormalization into its convolution.
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
        )


def write_data(model_file: str, prefix: str, images: Images, folder: Path) -> None:
    """Write the calibration images (unlabelled), the validation images (labelled) and the settings file.

    Args:
        model_file: name of the network's file, for the reader of the settings.
        prefix: begins the names of both data files.
        images: what to write; the training images serve for calibration.
        folder: where the network is.
    """
    calibration, validation = f"{prefix}-calibration.npz", f"{prefix}-validation.npz"
    np.savez_compressed(folder / calibration, x=images.train_x)
    np.savez_compressed(folder / validation, x=images.validation_x, y=images.validation_y)
    settings = [
        f"# Written by tools/train_zoo.py: how {model_file} wants its images.",
        f'calib = "{calibration}"',
        f'validate = "{validation}"',
        f"scale = {images.scale:g}",
        'layout = "nhwc"',
        f"mean = {list(images.mean)}",
        f"std = {list(images.std)}",
    ]
    (folder / "onnxshallow.toml").write_text("\n".join(settings) + "\n", encoding="utf-8")
