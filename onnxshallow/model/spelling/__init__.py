"""One spelling for what can be written in many ways, and the way back.

Exporters write max(x, 0) as Relu, Max, Clip, Where or ThresholdedRelu, inside local functions, in branches that are
always taken, or as an attribute of the convolution before it. Smooth activations are nodes of their own, or several.
All other rooms know Relu, Clip, LeakyRelu, PRelu and one node for each smooth activation, in the main graph alone: a
model is spelled so before it is looked at, and what came out unchanged is put back as it stood.
"""

from onnxshallow.model.spelling.plain import Plain, plainly_spelled

__all__ = ["Plain", "plainly_spelled"]
