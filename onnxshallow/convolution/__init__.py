"""The algebra of convolution kernels, in plain numpy and float64. It knows no ONNX.

`Convolution` is the value; the functions take and return it. Where two layers in a row become one
(`compose`), the result may be wrong in a ring at the border, and `exactness` says how wide.
"""

from onnxshallow.convolution.affine import input_shift_map, scale_input, scale_output
from onnxshallow.convolution.border import Exactness, border_bias_map, exactness
from onnxshallow.convolution.composition import compose
from onnxshallow.convolution.evaluation import convolve, macs, output_size
from onnxshallow.convolution.grouping import dense, regroup
from onnxshallow.convolution.kernel import Convolution, identity
from onnxshallow.convolution.rank import project, split
from onnxshallow.convolution.shortcut import add_shortcut
from onnxshallow.convolution.window import resize_kernel, trim

__all__ = [
    "Convolution",
    "Exactness",
    "add_shortcut",
    "border_bias_map",
    "compose",
    "convolve",
    "dense",
    "exactness",
    "identity",
    "input_shift_map",
    "macs",
    "output_size",
    "project",
    "regroup",
    "resize_kernel",
    "scale_input",
    "scale_output",
    "split",
    "trim",
]
