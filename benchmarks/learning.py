"""Whether the networks of a folder can learn: each is disturbed, and trained to say again what it said.

    python -m benchmarks.learning [FOLDER] --steps 20 --samples 24

Samples are made up, so what counts is that training runs, on all operators, and that the error on held-out samples
falls; or the sentence that says why a network cannot be trained. Prints a Markdown table, and writes learning.json.
"""

import json
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx

import onnxshallow
from benchmarks.arguments import benchmark_parser
from benchmarks.corpus import SHAPES
from onnxshallow.data.preprocessing import Preprocessing
from onnxshallow.data.synthetic import synthesize
from onnxshallow.errors import OnnxshallowError
from onnxshallow.model.document import load_document
from onnxshallow.model.network import Network
from onnxshallow.model.tensors import with_sizes

HEAD = """| network | numbers trained | error on held-out samples | seconds | what is frozen, or why not |
|---|---|---|---|---|"""
# How far weights are disturbed, as a share of their spread.
_SHARE = 0.1


@dataclass(frozen=True)
class Row:
    """What came of one network."""

    network: str
    trained: int | None = None
    before: float | None = None
    after: float | None = None
    seconds: float | None = None
    remark: str = ""

    def cells(self) -> str:
        """The row of the table."""
        if self.before is None or self.after is None:
            return f"| {self.network} | - | - | - | {self.remark} |"
        return (
            f"| {self.network} | {self.trained:,} | {self.before:.3g} -> {self.after:.3g} | {self.seconds:.0f} "
            f"| {self.remark} |"
        )


def learned(path: Path, steps: int, samples: int, threads: int) -> Row:
    """Disturb a network and train it."""
    shapes = next((given for part, given in SHAPES.items() if part in path.name), {})
    began = time.perf_counter()
    try:
        document = load_document(path).measurable()
        network = Network(document.plain.model)
        made = synthesize(with_sizes(network.inputs, shapes), samples, 0, Preprocessing())
        with tempfile.TemporaryDirectory() as folder:
            data, start = Path(folder) / "samples.npz", Path(folder) / "disturbed.onnx"
            np.savez(data, **made.batch(np.arange(samples)))  # type: ignore[arg-type]
            onnx.save(disturbed(onnx.load(path)), start)
            result = onnxshallow.finetune(
                path,
                start,
                calib=str(data),
                finetune=f"{steps}steps",
                input_shape=dict(shapes) or None,
                threads=threads,
                force=True,
            )
    except OnnxshallowError as error:
        return Row(path.stem, remark=str(error).replace(str(path), path.name).replace("|", "/"))
    told = result.report.training
    assert told is not None
    lacks = f"before {', '.join(told.lacks)}" if told.lacks else ""
    first, last = told.looks[0].error, told.looks[-1].error
    return Row(path.stem, told.trained, first, last, time.perf_counter() - began, lacks)


def disturbed(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model whose weights of two axes or more have noise on them."""
    generator = np.random.default_rng(0)
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.ndim > 1 and values.dtype.kind == "f":
            noise = generator.normal(size=values.shape) * _SHARE * values.std()
            tensor.CopyFrom(onnx.numpy_helper.from_array((values + noise).astype(values.dtype), tensor.name))
    return model


def main() -> None:
    """Train, write and print."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("../shared/corpus"))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--samples", type=int, default=24)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--only", default="", help="train models with this in their names")
    arguments = parser.parse_args()
    arguments.results.mkdir(parents=True, exist_ok=True)
    rows = []
    print(HEAD)
    for path in sorted(arguments.folder.glob("*.onnx")):
        if arguments.only in path.stem:
            rows.append(learned(path, arguments.steps, arguments.samples, arguments.threads))
            print(rows[-1].cells(), flush=True)
            content = json.dumps([asdict(row) for row in rows], indent=2) + "\n"
            (arguments.results / "learning.json").write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
