"""The architectures of the zoo with smooth activations: SiLU with squeeze-and-excitation, GELU with LayerNorm."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from zoo.networks import classifier, convolution

__all__ = ["ConvNeXtBlock", "MobileBlock", "SqueezeExcite", "cifar10_convnext", "cifar10_efficientnet"]


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
    """Five ConvNeXt blocks with GELU and LayerNorm for (N, 3, 32, 32), down to 8x8 (arXiv 2201.03545).

    The kernels are as wide as small images want, and two convolutions in place of patches read them, by which few
    images teach more.
    """
    first, second = 40, 96
    parts = OrderedDict[str, nn.Module](
        stem=nn.Sequential(
            nn.Conv2d(3, 24, 3, padding=1), nn.GELU(), nn.Conv2d(24, first, 3, 2, padding=1), _channel_norm(first)
        ),
        stage1=nn.Sequential(*(ConvNeXtBlock(first) for _ in range(2))),
        downsample=nn.Sequential(_channel_norm(first), nn.Conv2d(first, second, 2, 2)),
        stage2=nn.Sequential(*(ConvNeXtBlock(second) for _ in range(3))),
        pool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        norm=nn.LayerNorm(second, eps=1e-6),
        classifier=nn.Linear(second, 10),
    )
    return nn.Sequential(parts)


class ConvNeXtBlock(nn.Module):
    """x + scale * contract(gelu(expand(norm(depthwise(x))))); the inner layers read the channels last."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.expand = nn.Linear(width, 4 * width)
        self.gelu = nn.GELU()
        self.contract = nn.Linear(4 * width, width)
        self.scale = nn.Parameter(torch.ones(width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) to the same."""
        inner = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        inner = self.contract(self.gelu(self.expand(inner)))
        result: Tensor = x + self.scale * inner.permute(0, 3, 1, 2)
        return result


def _channel_norm(width: int) -> nn.Module:
    """LayerNorm over the channels of (N, width, H, W)."""
    return nn.Sequential(_Permute(0, 2, 3, 1), nn.LayerNorm(width, eps=1e-6), _Permute(0, 3, 1, 2))


class _Permute(nn.Module):
    def __init__(self, *axes: int) -> None:
        super().__init__()
        self.axes = axes

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(self.axes)


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
