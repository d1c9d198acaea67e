"""Damages to a model's bytes, and files that are something else."""

import gzip
import io
import pickle
import random
import zipfile

import numpy as np
import onnx

from tests.damage.table import any_node, any_weight, damage


class _Trap:
    """What a pickle of it does shows in the exit code: the process would end with 77."""

    def __reduce__(self):
        return (exec, ("import os; os._exit(77)",))


def trap() -> bytes:
    """A pickle that runs code."""
    return pickle.dumps(_Trap())


def _structure(model: onnx.ModelProto, random: random.Random, count: int) -> tuple[bytearray, list[int]]:
    """A model's bytes and `count` places in them, nine of ten outside the weights."""
    content = model.SerializeToString()
    inside = bytearray(len(content))
    for tensor in model.graph.initializer:
        start = content.find(tensor.raw_data)
        inside[start : start + len(tensor.raw_data)] = b"\1" * len(tensor.raw_data)
    outside = [place for place, weight in enumerate(inside) if not weight]
    places = [
        random.choice(outside) if random.random() < 0.9 else random.randrange(len(content)) for _ in range(count)
    ]
    return bytearray(content), places


@damage()
def truncated(model, random):
    content = model.SerializeToString()
    return content[: random.randrange(len(content))]


@damage()
def truncated_structure(model, random):
    content, (place,) = _structure(model, random, 1)
    return bytes(content[:place])


@damage()
def flipped_bit(model, random):
    content, (place,) = _structure(model, random, 1)
    content[place] ^= 1 << random.randrange(8)
    return bytes(content)


@damage()
def flipped_bits(model, random):
    content, places = _structure(model, random, random.randint(2, 40))
    for place in places:
        content[place] ^= 1 << random.randrange(8)
    return bytes(content)


@damage()
def other_byte(model, random):
    content, (place,) = _structure(model, random, 1)
    content[place] = random.choice((0, 1, 127, 128, 255, random.randrange(256)))
    return bytes(content)


@damage()
def spliced(model, random):
    content, (source, target) = _structure(model, random, 2)
    size = random.randint(1, 200)
    content[target : target + size] = content[source : source + size]
    return bytes(content)


@damage()
def cut_out(model, random):
    content, (place,) = _structure(model, random, 1)
    del content[place : place + random.randint(1, 100)]
    return bytes(content)


@damage()
def inserted(model, random):
    content, (place,) = _structure(model, random, 1)
    content[place:place] = random.randbytes(random.randint(1, 100))
    return bytes(content)


@damage()
def appended(model, random):
    return model.SerializeToString() + random.randbytes(random.randint(1, 1000))


@damage()
def twice(model, random):
    return model.SerializeToString() * 2


@damage()
def zeroed(model, random):
    content, (place,) = _structure(model, random, 1)
    size = min(random.randint(1, 500), len(content) - place)
    content[place : place + size] = bytes(size)
    return bytes(content)


@damage(certain=True)
def invalid_text(model, random):
    """A name that is no UTF-8, in the place of another of the same length."""
    node = any_node(model, random)
    name = random.choice([node.op_type, *node.output]).encode()
    content = model.SerializeToString()
    place = content.find(b"\n" + bytes([len(name)]) + name)
    place = content.find(name) if place < 0 else place + 2
    return content[:place] + b"\xff\xfe\xc0"[: len(name)] + content[place + min(3, len(name)) :]


@damage(certain=True)
def empty(model, random):
    return b""


@damage(certain=True)
def text(model, random):
    return random.choice([b"not a model\n", b"<html><body>404 Not Found</body></html>", b"version https://git-lfs\n"])


@damage(certain=True)
def noise(model, random):
    return bytes([255]) + random.randbytes(random.choice((1, 10, 1000, 100000)))


@damage(certain=True)
def zeros(model, random):
    return bytes(random.choice((1, 1000, 1 << 20)))


@damage(certain=True)
def zipped(model, random):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("model.onnx"), model.SerializeToString(), zipfile.ZIP_DEFLATED)
    return target.getvalue()


@damage(certain=True)
def gzipped(model, random):
    return gzip.compress(model.SerializeToString(), mtime=0)


@damage(certain=True)
def pickled(model, random):
    return trap()


@damage(certain=True)
def numpy_archive(model, random):
    target = io.BytesIO()
    np.savez(target, x=np.zeros((4, 3, 8, 8), np.float32))
    return target.getvalue()


@damage(certain=True)
def a_tensor_alone(model, random):
    return any_weight(model, random).SerializeToString()


@damage(certain=True)
def a_graph_alone(model, random):
    return model.graph.SerializeToString()


def _wrap(content: bytes, *fields: int) -> bytes:
    """Bytes as a field of a message that is a field of a message ..., the innermost field last."""
    for field in reversed(fields):
        size, length = len(content), bytearray()
        while True:
            length.append(size & 127 | (128 if size > 127 else 0))
            size >>= 7
            if not size:
                break
        tag = field << 3 | 2
        content = (bytes([tag]) if tag < 128 else bytes([tag & 127 | 128, tag >> 7])) + bytes(length) + content
    return content


@damage(certain=True)
def thousands_of_levels(model, random):
    """Subgraphs in subgraphs: NodeProto.attribute is 5, AttributeProto.g is 6, GraphProto.node is 1."""
    graph = b""
    for _ in range(random.choice((300, 2000, 5000))):
        graph = _wrap(graph, 1, 5, 6)
    return model.SerializeToString() + _wrap(graph, 7)


@damage(certain=True)
def types_within_types(model, random):
    """A sequence of sequences of ...: ValueInfoProto.type is 2, TypeProto.sequence_type 4, its elem_type 1."""
    levels = random.choice((1000, 20000))
    kind = b""
    for _ in range(levels):
        kind = _wrap(kind, 4, 1)
    return model.SerializeToString() + _wrap(kind, 7, 13, 2)


@damage(certain=True)
def no_graph(model, random):
    model.ClearField("graph")
    return model


@damage(certain=True)
def no_nodes(model, random):
    del model.graph.node[:]
    return model


@damage()
def unknown_format(model, random):
    model.ir_version = random.choice((0, 1, 2, 99, 2**31, 2**62, -1))
    return model


@damage()
def unknown_opset(model, random):
    del model.opset_import[:]
    if versions := random.choice(((), (0,), (999,), (-1,), (2**62,), (1,), (17, 9))):
        model.opset_import.extend(onnx.helper.make_opsetid("", version) for version in versions)
    return model


@damage(certain=True, seen=False)
def unknown_domain(model, random):
    any_node(model, random).domain = random.choice(("who.knows", "ai.onnx.ml", "\x1b[2J[red]"))
    return model
