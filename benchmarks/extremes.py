"""How far activations grow on every sample there is, as it is and changed in every way, beside the original's.

    python -m benchmarks.extremes MODEL.onnx OPTIMIZED.onnx ... -- --calib train.npz --validate test.npz --mean ...

`optimize` looks at all samples as they are and at changed copies of the most extreme. Here all of them are changed:
another brightness, contrast, noise, blur, JPEG, and more (`onnxshallow.data.changes`). What follows `--` are options
of `optimize`, which say where samples come from. Prints a Markdown table; ends with 1 where an activation of an
optimized network grows beyond the bound that is promised.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from benchmarks.arguments import benchmark_parser, by_name, read
from onnxshallow.analysis import analyze
from onnxshallow.data.changes import Changer
from onnxshallow.data.prepare import is_fixed, labelled_batches
from onnxshallow.data.samples import Samples
from onnxshallow.fitting.threads import computing
from onnxshallow.model.document import load_document
from onnxshallow.options.config import Config, resolve
from onnxshallow.search.inputs import load_inputs
from onnxshallow.validation.growth import BOUND, Growth
from onnxshallow.validation.peaks import Pair, Reference


def sources(model: Path, config: Config) -> tuple[Reference, dict[str, Samples], int]:
    """What the original does, all samples that there are, and how many make a batch."""
    inputs = load_inputs(load_document(model), config)
    found = {"calibration": inputs.data.pool, "validation": inputs.data.report}
    return inputs.reference, found, inputs.data.batch


def looked_at(reference: Reference, optimized: Path, samples: Mapping[str, Samples], batch: int) -> list[Growth]:
    """The largest growth on each set and each change of it."""
    pair = Pair(reference, analyze(load_document(optimized).plain.model).network)
    whole = is_fixed(reference.network.inputs)
    for name, part in samples.items():

        def batches(part: Samples = part) -> Iterator[Mapping[str, np.ndarray]]:
            return (feeds for feeds, _ in labelled_batches(part, batch, whole=whole))

        pair.look(name, batches(), usual=True)
        changer = Changer.of(reference.network.inputs, [next(batches())])
        for change in changer.changes:
            pair.look(f"{name}, {change}", (changer.changed(feeds, change) for feeds in batches()))
    return list(pair.result.growth)


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("optimized", type=Path, nargs="+")
    arguments, rest = read(parser)
    config = resolve(by_name(rest), arguments.model)
    found = {}
    with computing(config.threads or 0):
        reference, samples, batch = sources(arguments.model, config)
        for path in arguments.optimized:
            found[path.stem] = {each.samples: each for each in looked_at(reference, path, samples, batch)}
    print(f"| samples | count | {' | '.join(found)} |\n|---|{'---|' * (1 + len(found))}")
    for name, first in next(iter(found.values())).items():
        cells = " | ".join(f"{growth[name].factor:.2f}" for growth in found.values())
        print(f"| {name} | {first.count} | {cells} |")
    return int(any(each.factor > BOUND for growth in found.values() for each in growth.values()))


if __name__ == "__main__":
    sys.exit(main())
