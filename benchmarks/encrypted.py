"""A network without ReLUs on encrypted samples: CKKS, as TenSEAL computes it. An experiment.

    onnxshallow optimize MODEL.onnx --target-relus 0 --polynomials --target-depth 5 -o squares.onnx
    python -m benchmarks.encrypted squares.onnx --samples 2 -- --validate test.npz

Needs `pip install tenseal`, for Python 3.13 at the most. Between its squares such a network is linear, whatever nodes
it consists of. So it is cut at the squares, and unit vectors are sent through each part, which gives one matrix for
each tensor that the part reads. What is left to do on encrypted vectors is

    z = sum of x A + b for each part,    x = z^2 for each square

and a matrix or a square takes one level of the scheme. Says how long a sample takes, and how far its outputs are from
those of onnxruntime. A vector has to fit into one ciphertext of 8 192 or 16 384 numbers.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.arguments import benchmark_parser, by_name, read
from onnxshallow.analysis.cost import is_square
from onnxshallow.errors import ModelError, OnnxshallowError
from onnxshallow.model.network import Network
from onnxshallow.model.session import Session
from onnxshallow.options.config import resolve
from onnxshallow.runtime.segment import build_segment
from onnxshallow.workflows.engine import samples_to_compare
from onnxshallow.workflows.validate import load_models

# Bits of the coefficients that are 128 bits secure, by the degree of the ring; half as many numbers fit in.
# (Homomorphic Encryption Security Standard, 2018, table 1: ternary secrets, classical attacks.)
MOST_BITS = {16_384: 438, 32_768: 881}
# Bits of the first and of the last prime, and of those between, which are what a level takes.
OUTER_BITS, LEVEL_BITS = 50, 34
# Unit vectors that go through a part at a time.
BATCH = 256


@dataclass(frozen=True)
class Part:
    """What is linear between squares.

    Attributes:
        made: the tensor that it makes, (N, ...).
        square: its square, which goes on; None for the output.
        matrices: by tensor that it reads, (n, m).
        offset: what it makes of zeros, (m,).
    """

    made: str
    square: str | None
    matrices: Mapping[str, NDArray[np.float64]]
    offset: NDArray[np.float64]


def parts_of(network: Network) -> Iterator[Part]:
    """The linear parts of a network of one input and one output, in order.

    Raises:
        ModelError: something other than squares stands between them.
    """
    known = [network.inputs[0].name]
    squares = [node for node in network.nodes if node.index in network.alive and is_square(network, node)]
    for made, square in [*((node.inputs[0], node.outputs[0]) for node in squares), (network.output_names[0], None)]:
        if made not in known:
            model, reads = build_segment(network, network.ancestors([made], frozenset(known)), [made])
            yield linear_part(network, Session(model), reads, made, square)
        known += [made] if square is None else [made, square]


def linear_part(network: Network, session: Session, reads: tuple[str, ...], made: str, square: str | None) -> Part:
    """A part as matrices, and the proof that it is linear."""
    shapes = {name: network.full_shape(name) for name in reads}
    if None in shapes.values():
        raise ModelError(f"The sizes of {', '.join(reads)} are not all known; fix them with --input-shape.")

    def run(rows: Mapping[str, np.ndarray]) -> NDArray[np.float64]:
        count = len(next(iter(rows.values())))
        feeds = {name: np.zeros((count, *shape[1:]), np.float32) for name, shape in shapes.items() if shape}
        feeds |= {name: values.reshape(feeds[name].shape).astype(np.float32) for name, values in rows.items()}
        return session.run(feeds)[0].reshape(count, -1).astype(np.float64)

    sizes = {name: int(np.prod(shape[1:])) for name, shape in shapes.items() if shape}
    offset = run({name: np.zeros((1, size)) for name, size in sizes.items()})[0]
    matrices = {
        name: np.concatenate([run({name: unit}) for unit in np.array_split(np.eye(size), -(-size // BATCH))]) - offset
        for name, size in sizes.items()
    }
    rows = {name: np.random.default_rng(0).normal(size=(4, size)) for name, size in sizes.items()}
    linear = sum(rows[name] @ matrix for name, matrix in matrices.items()) + offset
    if not np.allclose(linear, run(rows), atol=1e-3 * np.abs(linear).max()):
        raise ModelError(f"What makes {made!r} is not linear: only squares may stand between linear layers.")
    return Part(made, square, matrices, offset)


def context_for(levels: int, widest: int) -> tuple[Any, int]:
    """TenSEAL's context for so many levels and vectors of such a width, with keys; and the degree of its ring."""
    import tenseal

    bits = [OUTER_BITS, *[LEVEL_BITS] * levels, OUTER_BITS]
    degree = next((size for size, most in MOST_BITS.items() if sum(bits) <= most and widest <= size // 2), None)
    if degree is None:
        raise ModelError(
            f"{levels} levels or vectors of {widest} numbers are more than TenSEAL can do; lower the depth."
        )
    context = tenseal.context(tenseal.SCHEME_TYPE.CKKS, degree, coeff_mod_bit_sizes=bits)
    context.global_scale = 2.0**LEVEL_BITS
    context.generate_galois_keys()
    return context, degree


def encrypted_run(
    parts: list[Part], context: Any, widest: int, name: str, sample: np.ndarray
) -> tuple[NDArray[np.float64], int]:
    """The outputs of one sample that was encrypted, and the bytes of its ciphertext.

    A ciphertext holds its vector again and again, which products with matrices rely on. A narrower result would break
    that, and so would numbers that are added as they are. So all that is made is as wide as the widest vector, with
    zeros at its end, and what is added is encrypted as well.
    """
    import tenseal

    values = {name: tenseal.ckks_vector(context, sample.reshape(-1).tolist())}
    sent = len(values[name].serialize())
    for part in parts:
        made = tenseal.ckks_vector(context, widened(part.offset[None], 1, widest)[0].tolist())
        for source, matrix in part.matrices.items():
            made += values[source].mm(widened(matrix, values[source].size(), widest).tolist())
        values[part.made] = made
        if part.square is not None:
            values[part.square] = made.square()
    return np.array(made.decrypt()[: len(parts[-1].offset)]), sent


def widened(matrix: NDArray[np.float64], rows: int, columns: int) -> NDArray[np.float64]:
    """A matrix with zeros below it and at its right."""
    return np.pad(matrix, ((0, rows - matrix.shape[0]), (0, columns - matrix.shape[1])))


def main() -> int:
    """Encrypt samples, run them and print a line for each; 1 where one ends in another class."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--samples", type=int, default=2, help="to encrypt [2]")
    arguments, rest = read(parser)
    config = resolve({**by_name(rest), "validate_samples": arguments.samples}, arguments.model)
    try:
        (document,), inputs = load_models([arguments.model], config)
        samples = samples_to_compare(inputs, config)
        network = Network(document.plain.model)
        parts = list(parts_of(network))
        levels = sum(1 + (part.square is not None) for part in parts)
        widest = max(max(matrix.shape) for part in parts for matrix in part.matrices.values())
        context, degree = context_for(levels, widest)
    except OnnxshallowError as error:
        parser.exit(error.exit_code, f"{error}\n")
    print(f"{len(parts)} matrices, {levels} levels, vectors of up to {widest}, a ring of degree {degree}")
    session, far = Session(network.model), 0
    for index in range(len(samples)):
        feed = samples.batch([index])
        expected = session.run(feed)[0].reshape(-1)
        began = time.perf_counter()
        made, sent = encrypted_run(parts, context, widest, inputs[0].name, feed[inputs[0].name])
        agrees = int(made.argmax()) == int(expected.argmax())
        far += not agrees
        print(
            f"sample {index}: {time.perf_counter() - began:.0f} s, {sent / 1e6:.2f} MB sent, class {made.argmax()} "
            f"({'the same' if agrees else 'another'} as in onnxruntime), outputs up to {np.abs(expected).max():.2f} "
            f"are off by {np.abs(made - expected).max():.5f}",
            flush=True,
        )
    return 1 if far else 0


if __name__ == "__main__":
    raise SystemExit(main())
