"""Whether optimized networks stand compressed images as well as the original does.

    python benchmarks/degraded.py MODEL.onnx MODEL.shallow.onnx --quality 75 -- --validate test.npz --mean ...

The images, uint8 in an `.npz`, go through JPEG; Pillow writes and reads it, at its own choice of chroma subsampling.
Pixels of another range than 0 to 255 (`--scale 16`) are brought to that range for it, and back. Prints a Markdown
table and writes degraded-MODEL.json: top-1 of each network on both, what it falls by, and by how much more than the
original's. With `--allow 1.5` the exit code is 1 where that is more than 1.5 points. What follows `--` are options of
`onnxshallow validate`; `--data` may be called `--validate`, as `optimize` does.
"""

import io
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from arguments import benchmark_parser, by_name, read
from numpy.typing import NDArray
from PIL import Image

from onnxshallow.model.files import file_digest, write_text
from onnxshallow.options.config import Config, resolve
from onnxshallow.report.schema.reports import ValidationReport
from onnxshallow.versions import versions
from onnxshallow.workflows.validate import validate

Pixels = NDArray[np.uint8]


def degrade(images: Pixels, quality: int, scale: float = 255.0) -> Pixels:
    """What JPEG leaves of images (N, H, W, 1 or 3), whose pixels go from 0 to `scale`."""
    stretched = np.clip(np.round(images * (255.0 / scale)), 0, 255).astype(np.uint8)
    read = np.stack([_through_jpeg(image, quality) for image in stretched])
    return np.round(read * (scale / 255.0)).astype(np.uint8)


def _through_jpeg(image: Pixels, quality: int) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file), dtype=np.uint8).reshape(image.shape)


def degraded_copy(source: Path, target: Path, quality: int, config: Config) -> None:
    """Write an `.npz` like `source`, with JPEG images in the place of its uint8 ones."""
    with np.load(source, allow_pickle=False) as archive:
        arrays = dict(archive)
    images = [name for name, values in arrays.items() if values.dtype == np.uint8 and values.ndim == 4]
    if len(images) != 1:
        raise SystemExit(f"{source} should hold one uint8 array of images (N, H, W, C), not {len(images)}.")
    pixels = arrays[images[0]]
    first = config.layout == "nchw"
    found = degrade(np.moveaxis(pixels, 1, -1) if first else pixels, quality, config.scale)
    np.savez(target, **{**arrays, images[0]: np.moveaxis(found, -1, 1) if first else found})


def top1(report: ValidationReport) -> tuple[float, float]:
    """Of the original and the other network."""
    if report.original_accuracy is None or report.optimized_accuracy is None:
        raise SystemExit("The validation data need labels.")
    return report.original_accuracy.top1, report.optimized_accuracy.top1


def compare(original: Path, optimized: Path, data: tuple[str, str], config: Config) -> dict[str, object]:
    """One network beside the original, on clean and on degraded images."""
    clean, worse = (
        validate(original, optimized, config=config.model_copy(update={"validate_data": source})) for source in data
    )
    (before, after), (low_before, low_after) = top1(clean), top1(worse)
    falls = before - low_before, after - low_after
    return {
        "model": optimized.name,
        "sha256": file_digest(optimized),
        "clean": [before, after],
        "degraded": [low_before, low_after],
        "lost": [clean.verdict.accuracy_lost, worse.verdict.accuracy_lost],
        "interval": [clean.verdict.accuracy_lost_interval, worse.verdict.accuracy_lost_interval],
        "falls": [round(fall, 6) for fall in falls],
        "falls_more_by": round(falls[1] - falls[0], 6),
        "samples": clean.original_accuracy.samples if clean.original_accuracy is not None else 0,
    }


def table(rows: list[dict[str, object]], quality: int) -> str:
    """Top-1 in percent, the original first."""
    head = f"| network | clean | JPEG, quality {quality} | falls by | more than the original |"
    lines = [head, "|---|---|---|---|---|"]
    for number, row in enumerate([rows[0], *rows]):
        which = min(number, 1)
        clean, worse, fall = (100 * row[name][which] for name in ("clean", "degraded", "falls"))
        more = f"{100 * row['falls_more_by']:.2f}" if which else ""
        lines.append(f"| {row['model'] if which else 'original'} | {clean:.2f} | {worse:.2f} | {fall:.2f} | {more} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, write and print; 1 where a network falls by too much."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("original", type=Path)
    parser.add_argument("optimized", type=Path, nargs="+")
    parser.add_argument("--quality", type=int, default=75, help="of the JPEG [75]")
    parser.add_argument("--allow", type=float, help="points by which a network may fall more than the original")
    arguments, rest = read(parser)
    options = {"validate" if name == "data" else name: value for name, value in by_name(rest).items()}
    config = resolve(options, arguments.original)
    if not isinstance(config.validate_data, str) or not config.validate_data.endswith(".npz"):
        parser.error("say which images: -- --validate IMAGES.npz")
    source = Path(config.validate_data)
    with tempfile.TemporaryDirectory() as folder:
        worse = Path(folder) / "degraded.npz"
        degraded_copy(source, worse, arguments.quality, config)
        data = str(source), str(worse)
        rows = [compare(arguments.original, path, data, config) for path in arguments.optimized]
    result = {"original": arguments.original.name, "sha256": file_digest(arguments.original)}
    result |= {"data": source.name, "quality": arguments.quality, "networks": rows, "versions": versions()}
    arguments.results.mkdir(parents=True, exist_ok=True)
    write_text(json.dumps(result, indent=2) + "\n", arguments.results / f"degraded-{arguments.original.stem}.json")
    print(table(rows, arguments.quality))
    if arguments.allow is not None and any(100 * row["falls_more_by"] > arguments.allow for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
