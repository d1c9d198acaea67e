"""In which order the readers of each stream can do without its channels, from one pass over the original network."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from onnxshallow.actions.base import Statistics
from onnxshallow.analysis import Analysis, Layer
from onnxshallow.analysis.narrowing import Narrowable
from onnxshallow.fitting.calibration import Calibration
from onnxshallow.fitting.elimination import Reader, elimination_order
from onnxshallow.fitting.normal_equations import System
from onnxshallow.fitting.patches import gather_patches, sample_positions
from onnxshallow.runtime.cursor import Cursor
from onnxshallow.runtime.progress import Step

__all__ = ["with_orders"]

# Rows for each unknown, and at least, that an order goes by.
_ROWS_PER_UNKNOWN, _LEAST_ROWS = 4, 8_000


def with_orders(
    analysis: Analysis,
    statistics: Statistics,
    narrowable: Sequence[Narrowable],
    calibration: Calibration,
    step: Step = lambda: None,
) -> Statistics:
    """The statistics of sites with the orders of their streams' channels.

    Args:
        analysis: of the original.
        statistics: what its sites do.
        narrowable: streams that channels may be taken out of.
        calibration: inputs, of which the fitting batches count.
        step: called after each stream.
    """
    batches = calibration.batches[calibration.fitting]
    goals = {layer.source for each in narrowable for layer in each.readers}
    cursor = Cursor.at_inputs(analysis.network, batches, calibration.store, goals=goals, threads=calibration.threads)
    found = dict(statistics)
    for each in sorted(narrowable, key=lambda each: each.readers[0].main):
        channels = each.stream.channels
        readers = [
            Reader.of(analysis.layers.convolution(layer), sums, channels, calibration.fit.ridge)
            for layer in each.readers
            if (sums := _sums(cursor, analysis, layer, calibration.fit.seed)) is not None
        ]
        if readers:
            order = elimination_order(readers)
            found |= {site.name: replace(found[site.name], order=order) for site in each.sites if site.name in found}
        step()
    return found


def _sums(cursor: Cursor, analysis: Analysis, layer: Layer, seed: int) -> System | None:
    """Sums over patches that a layer reads in the original; None where they are not finite."""
    convolution = analysis.layers.convolution(layer)
    cursor.advance([layer.source])
    sizes = (analysis.network.shape(layer.output) or ())[2:]
    generator = np.random.default_rng((seed, layer.main))
    inputs = cursor[layer.source]
    unknowns, pixels = int(np.prod(layer.weight_shape[1:])), int(np.prod([size or 1 for size in sizes]))
    wanted = max(_ROWS_PER_UNKNOWN * unknowns, _LEAST_ROWS)
    share = min(1.0, wanted / max(pixels * sum(map(len, inputs)), 1))
    parts = []
    for values in inputs:
        positions = sample_positions([size or 1 for size in sizes], share, generator) if sizes else None
        parts.append(gather_patches(values, convolution, positions))
        cursor.store.rest()
    patches = np.concatenate(parts, axis=1)
    total = System.of(patches, np.zeros((1, patches.shape[1], 0), dtype=np.float32))
    return total if bool(np.all(np.isfinite(total.gram))) else None
