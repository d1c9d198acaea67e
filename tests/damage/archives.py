"""Damages to `.npz` files."""

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable

import numpy as np

from tests.damage.content import trap
from tests.damage.table import sound_arrays

Apply = Callable[[random.Random], bytes]

ARCHIVES: dict[str, tuple[Apply, bool]] = {}
"""By kind: what makes the file, and whether it is damaged for certain."""


def damage(*, certain: bool = True) -> Callable[[Apply], Apply]:
    """Enter a function in the table, under its own name."""

    def enter(function: Apply) -> Apply:
        ARCHIVES["npz_" + function.__name__] = (function, certain)
        return function

    return enter


def _save(**arrays: object) -> bytes:
    target = io.BytesIO()
    np.savez(target, **{**sound_arrays(), **arrays})
    return target.getvalue()


def _pack(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, compression)  # which has a fixed date
    return target.getvalue()


def _member(header: str, data: bytes, version: tuple[int, int] = (1, 0)) -> bytes:
    text = header.encode("latin1") + b"\n"
    size = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + size + text + data


def _header(descr: str = "'<f4'", shape: str = "(24, 3, 8, 8)", order: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


def _data() -> bytes:
    return sound_arrays()["x"].tobytes()


@damage()
def truncated(random):
    content = _save()
    return content[: random.randrange(len(content))]


@damage(certain=False)
def flipped_bits(random):
    content = bytearray(_save())
    for _ in range(random.choice((1, 10))):
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    return bytes(content)


@damage(certain=False)
def spliced(random):
    content = bytearray(_save())
    source, target, size = random.randrange(len(content)), random.randrange(len(content)), random.randint(1, 300)
    content[target : target + size] = content[source : source + size]
    return bytes(content)


@damage()
def pickled_objects(random):
    header = _header("'|O'", "(24,)")
    return _pack({"x.npy": _member(header, trap())})


@damage()
def pickled_fields(random):
    """An element type with an object inside."""
    return _pack({"x.npy": _member(_header("[('a', '<f4'), ('b', '|O')]", "(24,)"), trap())})


@damage()
def a_pickle(random):
    return trap()


@damage()
def a_pickle_inside(random):
    return _pack({"x.npy": trap()})


@damage()
def bomb(random):
    """Zeros that unpack to more than the limit."""
    shape = random.choice(("(2000000, 3, 64, 64)", "(100000000000,)", "(24, 2147483648)"))
    return _pack({"x.npy": _member(_header(shape=shape), bytes(1 << 20))})


@damage()
def real_bomb(random):
    """A member that truly unpacks to gigabytes, as its header says."""
    return deflated_zeros(random.choice((20, 12, 3, 1)) << 30)


@damage()
def lying_shape(random):
    shape = random.choice(("(25, 3, 8, 8)", "(24, 3, 8)", "(24, 3, 8, 9)", "(4096, 3, 512, 512)"))
    return _pack({"x.npy": _member(_header(shape=shape), _data())})


@damage()
def absurd_shape(random):
    sizes = (
        "(-24, 3, 8, 8)",
        "(99999999999999999999999999, 2)",
        "(9223372036854775807, 2)",
        "('a',)",
        "24",
        "(1.5,)",
    )
    more = ("None", "(0, 9223372036854775807, 9223372036854775807)", "(" + "1, " * 100 + ")", "(True,)")
    return _pack({"x.npy": _member(_header(shape=random.choice(sizes + more)), _data())})


@damage()
def absurd_header(random):
    texts = (
        "", "{", "[]", "{'descr': '<f4'}", "__import__('os')._exit(77)", _header("'<f4x'"), _header("'<f99'"),
        _header("('<f4', (1000000000, 1000000000))"), _header("'V99999999999'"), "(" * 5000 + ")" * 5000,
        _header(order="None"), "\xff\xfe", "{" * 200, _header() + "\0", _header("'<U1000000000'"), "9" * 9000,
    )  # fmt: skip
    return _pack({"x.npy": _member(random.choice(texts), _data())})


@damage()
def huge_header(random):
    """A header that claims to be gigabytes long, or is megabytes long."""
    version = random.choice(((2, 0), (3, 0)))
    if random.random() < 0.5:
        return _pack({"x.npy": b"\x93NUMPY" + bytes(version) + struct.pack("<I", 2**32 - 1) + _data()})
    return _pack({"x.npy": _member(_header() + " " * (50 << 20), _data(), version)})


@damage()
def unknown_version(random):
    version = random.choice(((0, 0), (4, 0), (255, 255), (1, 1)))
    return _pack({"x.npy": b"\x93NUMPY" + bytes(version) + b"\x76\0" + _data()})


@damage()
def not_finite(random):
    values = sound_arrays()["x"].copy()
    values.flat[random.randrange(values.size)] = random.choice((np.nan, np.inf, -np.inf))
    return _save(x=values)


@damage()
def wrong_names(random):
    arrays = {"a": np.ones((24, 3, 8, 8), np.float32), "b": np.ones((24, 2), np.float32)}
    target = io.BytesIO()
    np.savez(target, **arrays)
    return target.getvalue()


@damage()
def names_that_act(random):
    """Names with folders, markup and terminal escapes."""
    name = random.choice(("../../x", "/etc/x", "[red]x[/red]", "x\x1b[2J", "x\ny", "x\0y", "x" * 60000))
    one = _member(_header("'|S1'", "(24,)"), b"a" * 24)
    return _pack({name + ".npy": one, "2" + name + ".npy": one})


@damage()
def other_types(random):
    shape = (24, 3, 8, 8)
    dtype = random.choice(("U3", "S5", "complex64", "bool", "datetime64[s]", "V8", "i8", "u2"))
    return _save(x=np.zeros(shape, dtype))


@damage()
def no_samples(random):
    shape = random.choice(((0, 3, 8, 8), (24, 0, 8, 8), ()))
    return _save(x=np.zeros(shape, np.float32), y=np.zeros(shape[:1], np.int64))


@damage()
def other_shapes(random):
    shape = random.choice(((24, 3, 8), (24, 8, 8, 3), (24, 3, 9, 8), (24,), (24, 3, 8, 8, 1), (3, 24, 8, 8)))
    return _save(x=np.zeros(shape, np.float32))


@damage()
def unequal_numbers(random):
    return _save(y=np.zeros(random.choice((23, 25, 1)), np.int64))


@damage()
def other_labels(random):
    labels = random.choice((np.zeros(24), np.zeros((24, 3), np.int64), np.array(["a"] * 24), np.zeros((24, 1), bool)))
    return _save(y=labels)


@damage()
def no_arrays(random):
    return random.choice((_pack({}), _pack({"readme.txt": b"hello"}), b"", b"text", b"PK\5\6" + bytes(18)))


@damage()
def encrypted(random):
    """The flag that says that a password is needed."""
    content = bytearray(_save())
    for start, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        where = content.find(start)
        while where >= 0:
            content[where + place] |= 1
            where = content.find(start, where + 1)
    return bytes(content)


@damage()
def unknown_compression(random):
    content = bytearray(_save())
    method = random.choice((99, 6, 97))
    for start, place in ((b"PK\3\4", 8), (b"PK\1\2", 10)):
        where = content.find(start)
        while where >= 0:
            content[where + place] = method
            where = content.find(start, where + 1)
    return bytes(content)


@damage()
def wrong_sum(random):
    """The data do not have the checksum that the directory gives."""
    content = bytearray(_save())
    place = content.find(_data()[:64])
    content[place + random.randrange(4000)] ^= 255
    return bytes(content)


def deflated_zeros(size: int) -> bytes:
    """An archive of a few hundred kilobytes whose one member is an array of `size` bytes, all zero.

    Python's zlib makes a megabyte of zeros about a kilobyte. The whole member is packed in pieces, so that making it
    takes little memory; to take little time the directory is written by hand and the checksum left wrong.
    """
    start = _member(_header("'|u1'", f"({size},)"), b"")
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = bytes(1 << 20)
    packed = [packer.compress(start), packer.flush(zlib.Z_FULL_FLUSH)]
    block = packer.compress(piece) + packer.flush(zlib.Z_FULL_FLUSH)
    packed += [block] * (size >> 20) + [packer.flush(zlib.Z_FINISH)]
    data = b"".join(packed)
    total = len(start) + size
    name = b"x.npy"
    extra = struct.pack("<HHQQ", 1, 16, total, len(data))
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 45, 0, 8, 0, 33, 0, 2**32 - 1, 2**32 - 1, len(name), len(extra))
    head = struct.pack(
        "<4s6H3L5H2L", b"PK\1\2", 45, 45, 0, 8, 0, 33, 0, 2**32 - 1, 2**32 - 1, len(name), len(extra), 0, 0, 0, 0, 0
    )
    before = local + name + extra + data
    directory = head + name + extra
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(directory), len(before), 0)
    return before + directory + end
