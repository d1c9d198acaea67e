"""Architectures of the zoo with smooth activations: SiLU with squeeze-and-excitation, GELU with LayerNorm."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from zoo.networks import classifier, convolution

__all__ = ["ConvNextBlock", "SqueezeExcite", "cifar10_convnext", "cifar10_efficientnet"]


def cifar10_efficientnet() -> nn.Module:
    """Seven MBConv blocks with SiLU and squeeze-and-excitation for (N, 3, 32, 32), down to 8x8 (arXiv 1905.11946)."""
    body, width = nn.Sequential(), 24
    for number, (outputs, stride, blocks) in enumerate(((32, 2, 2), (64, 2, 3), (96, 1, 2)), start=1):
        stage = nn.Sequential()
        for block in range(1, blocks + 1):
            stage.add_module(f"block{block}", MobileBlock(width, outputs, stride if block == 1 else 1))
            width = outputs
        body.add_module(f"stage{number}", stage)
    parts = OrderedDict[str, nn.Module](
        stem=convolution(3, 24, activation=nn.SiLU()),
        stages=body,
        head=convolution(width, 320, kernel=1, activation=nn.SiLU()),
    )
    return classifier(parts, 320, 10)


def cifar10_convnext() -> nn.Module:
    """Three stages of two ConvNeXt blocks each for (N, 3, 32, 32), from 16x16 down to 4x4 (arXiv 2201.03545)."""
    body, width = nn.Sequential(), 3
    for number, outputs in enumerate((48, 96, 192), start=1):
        stage = nn.Sequential()
        if number > 1:
            stage.add_module("norm", _ChannelNorm(width))
        stage.add_module("down", nn.Conv2d(width, outputs, 2, 2))
        for block in (1, 2):
            stage.add_module(f"block{block}", ConvNextBlock(outputs))
        body.add_module(f"stage{number}", stage)
        width = outputs
    return classifier(OrderedDict[str, nn.Module](stages=body, norm=_ChannelNorm(width)), width, 10)


class SqueezeExcite(nn.Module):
    """x times a gate for each channel, made of the channels' means (arXiv 1709.01507)."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, inner, 1)
        self.silu = nn.SiLU()
        self.expand = nn.Conv2d(inner, channels, 1)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        result: Tensor = x * self.gate(self.expand(self.silu(self.reduce(self.pool(x)))))
        return result


class MobileBlock(nn.Module):
    """project(excite(depthwise(expand(x)))), plus x where the shapes agree; four times as wide inside."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        inner = 4 * inputs
        self.expand = convolution(inputs, inner, kernel=1, activation=nn.SiLU())
        self.depthwise = convolution(inner, inner, stride=stride, groups=inner, activation=nn.SiLU())
        self.excite = SqueezeExcite(inner, inputs // 4)
        self.project = convolution(inner, outputs, kernel=1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        result: Tensor = self.project(self.excite(self.depthwise(self.expand(x))))
        return x + result if self.residual else result


class ConvNextBlock(nn.Module):
    """x plus two linear layers with a GELU between, on the last axis, of a normalised depthwise 5x5 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.expand = nn.Linear(channels, 3 * channels)
        self.gelu = nn.GELU()
        self.project = nn.Linear(3 * channels, channels)
        self.scale = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        inner = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        inner = self.scale * self.project(self.gelu(self.expand(inner)))
        result: Tensor = x + inner.permute(0, 3, 1, 2)
        return result


class _ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        result: Tensor = super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return result
