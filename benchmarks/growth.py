"""How the time of `optimize` grows with samples, layers, channels and the size of the map, beside other checkouts.

    python benchmarks/growth.py --against FOLDER -- --target-relus 0.7

Residual networks of random weights are optimized on synthetic samples, one thread each, without a cache. One thing at
a time is doubled, twice. The exponent is the slope of log CPU seconds over log size: 1 where twice as
much takes twice as long. Prints a Markdown table and writes growth.json.
"""

import json
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from arguments import benchmark_parser, read
from onnx import numpy_helper
from work import counted


@dataclass(frozen=True)
class Size:
    """What a run is given: calibration samples, residual blocks, channels, and the side of the map."""

    samples: int = 256
    blocks: int = 6
    channels: int = 16
    side: int = 16


_THINGS = ("samples", "blocks", "channels", "side")
_TIMES = (1, 2, 4)


def network(size: Size) -> onnx.ModelProto:
    """A network of `size.blocks` blocks of two convolutions each, between a first convolution and ten classes."""
    random = np.random.default_rng(0)
    weights = [_weight(random, "w", size.channels, 3, 3, 3)]
    lines = ["h = Conv<pads=[1,1,1,1]>(x, w)", "s0 = Relu(h)"]
    for block in range(size.blocks):
        for part, gain in (("a", 1.0), ("b", 0.3)):
            weights.append(_weight(random, f"{part}{block}", size.channels, size.channels, 3, 3, gain=gain))
        lines += [
            f"h{block} = Conv<pads=[1,1,1,1]>(s{block}, a{block})",
            f"r{block} = Relu(h{block})",
            f"d{block} = Conv<pads=[1,1,1,1]>(r{block}, b{block})",
            f"t{block} = Add(d{block}, s{block})",
            f"s{block + 1} = Relu(t{block})",
        ]
    weights.append(_weight(random, "v", size.channels, 10))
    lines += [f"p = GlobalAveragePool(s{size.blocks})", "f = Flatten(p)", "y = Gemm(f, v)"]
    text = f'<ir_version: 8, opset_import: ["": 17]> g (float[N,3,{size.side},{size.side}] x) => (float[N,10] y) {{\n'
    model = onnx.parser.parse_model(text + "\n".join(lines) + "\n}")
    model.graph.initializer.extend(weights)
    return model


def _weight(random: np.random.Generator, name: str, *shape: int, gain: float = 1.0) -> onnx.TensorProto:
    inputs = shape[0] if len(shape) == 2 else int(np.prod(shape[1:]))
    values = gain * np.sqrt(2 / inputs) * random.standard_normal(shape)
    return numpy_helper.from_array(values.astype(np.float32), name)


def exponent(sizes: list[int], seconds: list[float]) -> float:
    """The slope of log seconds over log size."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def main() -> None:
    """Measure, write and print."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("--against", type=Path, action="append", default=[], help="another checkout")
    arguments, rest = read(parser)
    checkouts = [*arguments.against, Path(__file__).resolve().parents[1]]
    found = []
    print("| checkout | what grows | sizes | CPU s | exponent |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "grown.onnx"
        for checkout in checkouts:
            for thing in _THINGS:
                sizes = [replace(Size(), **{thing: times * getattr(Size(), thing)}) for times in _TIMES]
                seconds = []
                for size in sizes:
                    onnx.save(network(size), model)
                    row = counted(checkout, model, [*rest, "--calib-samples", str(size.samples)])
                    seconds.append(float(str(row["cpu_seconds"])))
                    found.append({"checkout": checkout.name, **asdict(size), "cpu_seconds": seconds[-1]})
                values = [getattr(size, thing) for size in sizes]
                shown = f"{', '.join(map(str, values))} | {', '.join(f'{each:.1f}' for each in seconds)}"
                print(f"| {checkout.name} | {thing} | {shown} | {exponent(values, seconds):.2f} |", flush=True)
    arguments.results.mkdir(parents=True, exist_ok=True)
    target = arguments.results / "growth.json"
    target.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
