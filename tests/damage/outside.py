"""Damages to what a model says of its external data.

They refer to files that `place` puts there. Beside the model: `weights.bin`, 4096 zeros; `nan.bin`, as many NaN;
`link.bin`, a link to `secret.bin` in the folder above; `device.bin`, a link to /dev/zero; `pipe.bin`, a named pipe;
`sub`, a folder.
"""

import os
from pathlib import Path

from onnx import TensorProto, external_data_helper

from tests.damage.table import damage


def place(folder: Path) -> None:
    """Make the files that external data may refer to."""
    (folder / "weights.bin").write_bytes(bytes(4096))
    (folder / "nan.bin").write_bytes(b"\0\0\xc0\x7f" * 1024)
    (folder.parent / "secret.bin").write_bytes(bytes(1 << 20))
    (folder / "sub").mkdir()
    os.symlink(folder.parent / "secret.bin", folder / "link.bin")
    os.symlink("/dev/zero", folder / "device.bin")
    os.symlink(folder.parent, folder / "sub" / "up")
    os.mkfifo(folder / "pipe.bin")


def _refer(model, random, location="weights.bin", **entries):
    """Move a weight to external data."""
    tensor = random.choice([t for t in model.graph.initializer if 0 < len(t.raw_data) <= 4096])
    size = len(tensor.raw_data)
    external_data_helper.set_external_data(tensor, location, 0, size)
    tensor.ClearField("raw_data")
    for name, value in entries.items():
        entry = next(e for e in tensor.external_data if e.key == name)
        entry.value = str(value)
    return model


@damage(certain=True)
def missing_data_file(model, random):
    return _refer(model, random, random.choice(("none.bin", "sub/none.bin", "no\nne\x1b[2J.bin", "n" * 300)))


@damage(certain=True)
def data_outside_the_folder(model, random):
    return _refer(model, random, random.choice(("../secret.bin", "sub/../../secret.bin", "./../secret.bin")))


@damage(certain=True)
def data_at_an_absolute_path(model, random):
    return _refer(model, random, random.choice(("/etc/passwd", "/dev/zero", "/dev/stdin", "/proc/self/environ")))


@damage(certain=True)
def data_behind_a_link(model, random):
    return _refer(model, random, random.choice(("link.bin", "device.bin", "sub/up/secret.bin")))


@damage(certain=True)
def data_in_no_file(model, random):
    return _refer(model, random, random.choice(("sub", ".", "", "pipe.bin", "a\0b")))


@damage(certain=True)
def data_beyond_the_end(model, random):
    if random.random() < 0.5:
        return _refer(model, random, offset=random.choice((4095, 4096, 10**9, 2**62, 2**70)))
    return _refer(model, random, length=random.choice((4097, 10**9, 2**40, 2**62, 2**70)))


@damage(certain=True)
def negative_place_of_data(model, random):
    entry = random.choice(("offset", "length"))
    return _refer(model, random, **{entry: random.choice((-1, -4096, -(2**63)))})


@damage(certain=True)
def place_of_data_is_no_number(model, random):
    entry = random.choice(("offset", "length"))
    return _refer(model, random, **{entry: random.choice(("many", "1e3", "0x10", "1.5", "9" * 5000))})


@damage(certain=True)
def too_little_data(model, random):
    return _refer(model, random, length=random.choice((0, 1, 2)))


@damage(certain=True)
def data_without_location(model, random):
    model = _refer(model, random)
    tensor = next(t for t in model.graph.initializer if t.data_location == TensorProto.EXTERNAL)
    kept = [e for e in tensor.external_data if e.key != "location"]
    del tensor.external_data[:]
    tensor.external_data.extend(kept)
    return model


@damage(certain=True)
def huge_external_weight(model, random):
    model = _refer(model, random)
    tensor = next(t for t in model.graph.initializer if t.data_location == TensorProto.EXTERNAL)
    tensor.dims[0] = random.choice((2**40, 2**62))
    del tensor.external_data[1:]
    return model


@damage(certain=True)
def nan_in_external_data(model, random):
    return _refer(model, random, "nan.bin")
