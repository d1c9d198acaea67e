"""The architectures of the zoo: plain convolutional classifiers of small images.

The names of the modules become the names of the ONNX nodes. Every network ends in global average pooling and
one linear layer; every convolution is followed by BatchNormalization.
"""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = [
    "InvertedResidual",
    "ResidualBlock",
    "cifar10_mobilenetv2",
    "cifar10_vgg",
    "classifier",
    "convolution",
    "digits_resnet",
]


def digits_resnet() -> nn.Module:
    """A ResNet of six blocks for (N, 1, 8, 8): 13 ReLUs of 11 264 elements, wider than digits need."""
    return _resnet(channels=1, classes=10, stages=((16, 1), (16, 1), (32, 2)))


def cifar10_vgg() -> nn.Module:
    """A plain chain of eight 3x3 convolutions for (N, 3, 32, 32)."""
    return _vgg(channels=3, classes=10, stages=((48, 48), (96, 96), (128, 128), (160, 160)))


def cifar10_mobilenetv2() -> nn.Module:
    """A MobileNetV2 of nine inverted residuals for (N, 3, 32, 32), down to 8x8."""
    stages = ((4, 32, 2), (4, 64, 2), (6, 96, 1))
    return _mobilenetv2(channels=3, classes=10, stem=24, stages=stages, blocks=3, head=320)


def _resnet(channels: int, classes: int, stages: Sequence[tuple[int, int]]) -> nn.Module:
    """A 3x3 stem and stages of two residual blocks each, of (width, stride)."""
    width = stages[0][0]
    stem = convolution(channels, width, activation=nn.ReLU())
    body = nn.Sequential()
    for number, (outputs, stride) in enumerate(stages, start=1):
        first, second = ResidualBlock(width, outputs, stride), ResidualBlock(outputs, outputs, 1)
        body.add_module(f"stage{number}", nn.Sequential(OrderedDict(block1=first, block2=second)))
        width = outputs
    return classifier(OrderedDict(stem=stem, stages=body), width, classes)


def _vgg(channels: int, classes: int, stages: Sequence[Sequence[int]]) -> nn.Module:
    """Stages of 3x3 convolutions of the given widths, with 2x2 max-pooling between them (arXiv 1409.1556)."""
    body = nn.Sequential()
    width = channels
    for number, widths in enumerate(stages, start=1):
        stage = nn.Sequential()
        if number > 1:
            stage.add_module("pool", nn.MaxPool2d(2))
        for layer, outputs in enumerate(widths, start=1):
            stage.add_module(f"layer{layer}", convolution(width, outputs, activation=nn.ReLU()))
            width = outputs
        body.add_module(f"stage{number}", stage)
    return classifier(OrderedDict(stages=body), width, classes)


def _mobilenetv2(
    channels: int, classes: int, stem: int, stages: Sequence[tuple[int, int, int]], blocks: int, head: int
) -> nn.Module:
    """A 3x3 stem, stages of inverted residuals and a 1x1 convolution, all with ReLU6 (arXiv 1801.04381).

    Args:
        channels: of the input images.
        classes: of the output.
        stem: width of the first convolution, which has stride 1.
        stages: the (expansion, width, stride) of each stage; its first block has the stride.
        blocks: of each stage.
        head: width of the last convolution.
    """
    body = nn.Sequential()
    width = stem
    for number, (expansion, outputs, stride) in enumerate(stages, start=1):
        stage = nn.Sequential()
        for block in range(1, blocks + 1):
            first = block == 1
            stage.add_module(f"block{block}", InvertedResidual(width, outputs, stride if first else 1, expansion))
            width = outputs
        body.add_module(f"stage{number}", stage)
    parts = OrderedDict(
        stem=convolution(channels, stem, activation=nn.ReLU6()),
        stages=body,
        head=convolution(width, head, kernel=1, activation=nn.ReLU6()),
    )
    return classifier(parts, head, classes)


class ResidualBlock(nn.Module):
    """relu(bn(conv(relu(bn(conv(x))))) + shortcut(x)), as in the CIFAR ResNets (arXiv 1512.03385)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = convolution(inputs, outputs, kernel=1, stride=stride)
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        inner = self.relu1(self.bn1(self.conv1(x)))
        result: Tensor = self.relu2(self.bn2(self.conv2(inner)) + self.shortcut(x))
        return result


class InvertedResidual(nn.Module):
    """project(depthwise(expand(x))), plus x where the shapes agree; the projection has no activation."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expand = convolution(inputs, inner, kernel=1, activation=nn.ReLU6())
        self.depthwise = convolution(inner, inner, stride=stride, groups=inner, activation=nn.ReLU6())
        self.project = convolution(inner, outputs, kernel=1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        result: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + result if self.residual else result


class _StridedDepthwise(nn.Conv2d):
    """A depthwise convolution trained in float32 under autocast too: its bfloat16 gradient is 8 times slower."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H / stride, W / stride)."""
        with torch.autocast("cpu", enabled=False):
            # Out of training all is float32 already, and a conversion would be a node of the ONNX graph.
            result: Tensor = super().forward(x.float() if self.training else x)
            return result


def convolution(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1, activation: nn.Module | None = None
) -> nn.Sequential:
    """A padded convolution without bias, BatchNormalization, and the activation if there is one."""
    kind = _StridedDepthwise if groups > 1 and stride > 1 else nn.Conv2d
    conv = kind(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    layers = OrderedDict[str, nn.Module](conv=conv, bn=nn.BatchNorm2d(outputs))
    if activation is not None:
        layers["relu"] = activation
    return nn.Sequential(layers)


def classifier(parts: OrderedDict[str, nn.Module], width: int, classes: int) -> nn.Module:
    """The parts, then global average pooling and a linear layer: (N, C, H, W) to (N, classes) logits."""
    end = OrderedDict(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), classifier=nn.Linear(width, classes))
    return nn.Sequential(OrderedDict(**parts, **end))
