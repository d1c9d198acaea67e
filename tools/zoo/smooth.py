"""The architecture of the zoo with smooth activations: SiLU, with squeeze-and-excitation."""

from collections import OrderedDict

from torch import Tensor, nn

from zoo.networks import classifier, convolution

__all__ = ["MobileBlock", "SqueezeExcite", "cifar10_efficientnet"]


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
