"""What a network consists of: linear layers, activation sites, linear regions, and what they cost."""

from onnxshallow.analysis.analysis import Analysis, analyze
from onnxshallow.analysis.cost import Cost, count_cost
from onnxshallow.analysis.layers import Layer, Layers
from onnxshallow.analysis.regions import NotLinearError, Region, find_regions, linear_map, trace_region
from onnxshallow.analysis.sites import Site, find_sites

__all__ = [
    "Analysis",
    "Cost",
    "Layer",
    "Layers",
    "NotLinearError",
    "Region",
    "Site",
    "analyze",
    "count_cost",
    "find_regions",
    "find_sites",
    "linear_map",
    "trace_region",
]
