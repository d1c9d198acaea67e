"""A convolution under an average over all pixels, as a convolution of the averages.

The average of what one tap makes is that tap's weights times the average of the pixels that it sees. These are all
pixels but for a few at the border, and as many as they are with a stride, so that

    mean(conv(x)) = averaged(conv)(mean(x)),    averaged: the sum of the weights over the taps, and the bias,

exactly for a convolution that reads each pixel once, and nearly for others.
"""

import numpy as np

from onnxshallow.convolution.kernel import Convolution

__all__ = ["averaged", "averages_exactly", "flattened"]


def averaged(conv: Convolution) -> Convolution:
    """The pointwise convolution that makes of averages what `conv` makes on average, but for the border."""
    taps = tuple(range(2, conv.weight.ndim))
    weight = np.sum(conv.weight, axis=taps, keepdims=True)
    return Convolution.of(weight, conv.bias, groups=conv.groups)


def averages_exactly(conv: Convolution) -> bool:
    """Whether `averaged` is right for inputs of every size: every pixel is read once."""
    return conv.is_pointwise and set(conv.strides) <= {1}


def flattened(conv: Convolution) -> Convolution:
    """A pointwise convolution as a linear layer, for what has a single pixel.

    Raises:
        ValueError: if its kernel has more than one tap, or a pad.
    """
    if not conv.is_pointwise:
        raise ValueError(f"A kernel of shape {conv.kernel_shape} is no linear layer of single pixels.")
    return Convolution.of(conv.weight.reshape(conv.weight.shape[:2]), conv.bias, groups=conv.groups)
