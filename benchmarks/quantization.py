"""Static int8 quantization of a model and of its optimized form, with the same calibration samples.

    python benchmarks/quantization.py MODEL.onnx --results FOLDER -- --target-relus 0.58 --calib ... --validate ...

Each network is quantized by `onnxruntime.quantization` as its authors recommend: shape inference and clean-up of the
graph (`quant_pre_process`), then `quantize_static` with QuantizeLinear and DequantizeLinear nodes, int8 weights per
channel and int8 activations. The other order, quantizing first, is tried too. `--optimized MODEL.shallow.onnx` takes
a network that is there already. Prints a Markdown table and writes MODEL-quantization.json.
"""

import json
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from arguments import benchmark_parser, by_name, read
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

import onnxshallow
from onnxshallow.errors import OnnxshallowError
from onnxshallow.model.document import load_document
from onnxshallow.options.config import Config, resolve
from onnxshallow.search.inputs import load_inputs
from onnxshallow.versions import versions
from onnxshallow.workflows.validate import validate

# Entropy, with the bins that onnxruntime gives it, finds the same ranges as MinMax. Where zero is in the middle of
# every range (symmetric), the ReLUs stay in the quantized graph; otherwise the quantizer takes them out.
METHODS = {
    "minmax": (CalibrationMethod.MinMax, False),
    "percentile": (CalibrationMethod.Percentile, False),
    "symmetric": (CalibrationMethod.MinMax, True),
}


class Batches(CalibrationDataReader):
    """Hands calibration samples to the quantizer, batch by batch."""

    def __init__(self, batches: Sequence[Mapping[str, np.ndarray]]) -> None:
        self._rest: Iterator[Mapping[str, np.ndarray]] = iter(batches)

    def get_next(self) -> Mapping[str, np.ndarray] | None:
        """The next batch by input name, or None at the end."""
        return next(self._rest, None)


def quantize(model: Path, target: Path, batches: Sequence[Mapping[str, np.ndarray]], method: str) -> Path:
    """Write the int8 form of a model; activations' ranges come from `batches` by `method`."""
    calibration, symmetric = METHODS[method]
    prepared = target.with_suffix(".prepared.onnx")
    quant_pre_process(model, prepared)
    quantize_static(
        prepared,
        target,
        Batches(batches),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        weight_type=QuantType.QInt8,
        activation_type=QuantType.QInt8,
        calibrate_method=calibration,
        extra_options={"ActivationSymmetric": symmetric},
    )
    return target


def compare(first: Path, second: Path, config: Config) -> dict[str, object]:
    """Top-1 of two models on the validation samples, as `onnxshallow validate` measures it."""
    report = validate(first, second, config=config)
    if report.original_accuracy is None or report.optimized_accuracy is None:
        raise SystemExit("The validation data need labels.")
    return {
        "top1": [report.original_accuracy.top1, report.optimized_accuracy.top1],
        "lost": report.verdict.accuracy_lost,
        "interval": report.verdict.accuracy_lost_interval,
    }


def counts(path: Path) -> dict[str, int]:
    """What a report calls `relus`, and the bytes of the file."""
    return {"relus": onnxshallow.analyze(onnx.load(path)).cost.relus, "bytes": path.stat().st_size}


def quantized_first(
    original: Path, model: Path, target: Path, options: Mapping[str, object], config: Config
) -> dict[str, object]:
    """What `optimize` makes of a quantized model: an error in words, or what is left and lost beside the original."""
    try:
        result = onnxshallow.optimize(model, **options)
        result.save(target)
    except OnnxshallowError as error:
        return {"exit_code": int(error.exit_code), "message": str(error).replace(str(model), "MODEL")}
    return {"exit_code": 0, **counts(target), **compare(original, target, config), "before": counts(model)}


def main() -> None:
    """Measure, write and print."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--optimized", type=Path, help="the optimized network; it is made anew otherwise")
    parser.add_argument("--methods", default="minmax,percentile,symmetric", help="comma-separated")
    arguments, rest = read(parser)
    logging.getLogger().setLevel(logging.ERROR)  # the quantizer recommends the clean-up that was done
    options = {name.replace("-", "_"): value for name, value in by_name(rest).items()}
    data = {name: value for name, value in options.items() if not name.startswith("target_") and name != "max_drop"}
    config = resolve(data, arguments.model)
    inputs = load_inputs(load_document(arguments.model), config)
    batches = inputs.calibration.batches
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        optimized = arguments.optimized or folder / "optimized.onnx"
        if arguments.optimized is None:
            onnxshallow.optimize(arguments.model, **options).save(optimized)
        float32 = compare(arguments.model, optimized, config)
        for method in arguments.methods.split(","):
            first = quantize(arguments.model, folder / f"original-{method}.onnx", batches, method)
            second = quantize(optimized, folder / f"optimized-{method}.onnx", batches, method)
            row = {
                "method": method,
                "original": {**compare(arguments.model, first, config), **counts(first)},
                "optimized": {**compare(optimized, second, config), **counts(second)},
                "int8": compare(first, second, config),
                "quantized_first": quantized_first(arguments.model, first, folder / "late.onnx", options, config),
            }
            rows.append(row)
        sizes = {"original": counts(arguments.model), "optimized": counts(optimized)}
    result = {"float32": float32, "sizes": sizes, "int8": rows, "samples": len(inputs.data.report)}
    arguments.results.mkdir(parents=True, exist_ok=True)
    target = arguments.results / f"{arguments.model.stem}-quantization.json"
    target.write_text(json.dumps({**result, "versions": versions()}, indent=2) + "\n", encoding="utf-8")
    print(table(float32, rows))


def table(float32: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """Top-1 in percent of both networks, in float32 and int8."""
    lines = ["| calibration | network | float32 | int8 | lost by quantizing |", "|---|---|---|---|---|"]
    for row in rows:
        for position, network in enumerate(("original", "optimized")):
            before, after = float32["top1"][position], row[network]["top1"][1]
            low, high = row[network]["interval"]
            lost = f"{100 * (before - after):.2f} ({100 * low:.2f} to {100 * high:.2f})"
            lines.append(f"| {row['method']} | {network} | {100 * before:.2f} | {100 * after:.2f} | {lost} |")
        late = row["quantized_first"]
        told = (
            late.get("message") or f"{100 * late['top1'][1]:.2f}; ReLUs {late['before']['relus']} -> {late['relus']}"
        )
        lines.append(f"| {row['method']} | quantized, then optimized | | {told} | |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
