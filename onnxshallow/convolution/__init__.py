"""The algebra of convolution kernels, in plain numpy and float64. It knows no ONNX.

`Convolution` is the value; the functions take and return it. Where two layers in a row become one
(`compose`), the result may be wrong at the border, and `composes_exactly` says whether.
"""

from onnxshallow.convolution.affine import scale_output
from onnxshallow.convolution.averaging import averaged, averages_exactly, flattened
from onnxshallow.convolution.border import composes_exactly
from onnxshallow.convolution.composition import compose
from onnxshallow.convolution.evaluation import convolve, output_size
from onnxshallow.convolution.grouping import dense, regroup
from onnxshallow.convolution.joining import join
from onnxshallow.convolution.kernel import Convolution, identity
from onnxshallow.convolution.rank import Form, Taps, balanced, form_of, low_rank, own_taps, spectra, split
from onnxshallow.convolution.shortcut import add_shortcut
from onnxshallow.convolution.window import resize_kernel

__all__ = [
    "Convolution",
    "Form",
    "Taps",
    "add_shortcut",
    "averaged",
    "averages_exactly",
    "balanced",
    "compose",
    "composes_exactly",
    "convolve",
    "dense",
    "flattened",
    "form_of",
    "identity",
    "join",
    "low_rank",
    "output_size",
    "own_taps",
    "regroup",
    "resize_kernel",
    "scale_output",
    "spectra",
    "split",
]
