"""What CHEETAH sends for products: ciphertexts, whose number steps up with the size of what is multiplied.

SPU 0.9.5 encrypts for polynomials of 8192 coefficients in a ring of 64 bits. A product of matrices is cut into blocks
that fit into one polynomial each; products element by element go by oblivious transfer where they are few, and into
polynomials of 4096 slots where they are many. The constants were measured, and the way of cutting is the engine's.

References:
    Z. Huang et al., *Cheetah: lean and fast secure two-party deep neural network inference*, USENIX Security 2022.
    W. Lu et al., *SPU*, `libspu/mpc/cheetah`: how blocks are chosen.
"""

from math import ceil

from onnxshallow.private.operations import Operation

__all__ = ["comparisons", "linear", "products", "scales"]

_DEGREE = 8192
# Bytes of a ciphertext that is sent (half of it is a seed), and of one that comes back, with all its coefficients.
_SENT, _ANSWERED = 185_600, 253_700
# One that is not packed leaves out what is not needed: bytes of half of it, and of a coefficient of the other half.
_HALF, _COEFFICIENT = 126_850, 15.48
# From so many elements on a step is cut in two, each with messages of its own.
_ALONE = 2048
# Bytes an element: of a comparison, of cutting digits off, of a product by oblivious transfer.
_COMPARED, _CUT, _TRANSFERRED = 98.5, 3.125, 35.12
_SLOTS, _BLOCK_BYTES = 4096, 1_143_500
_GROUP, _GROUP_BYTES = 16_384, 3_575_000


def comparisons(operation: Operation) -> tuple[float, float]:
    """Bytes and messages of comparisons: 20 messages a step, 40 where it has many."""
    each = operation.made / operation.steps
    return _COMPARED * operation.made, operation.steps * (20 if each <= _ALONE else 40)


def scales(operation: Operation) -> tuple[float, float]:
    """Bytes and messages of cutting digits off."""
    return _CUT * operation.made, 1 if operation.made <= _ALONE else 2


def products(operation: Operation) -> tuple[float, float]:
    """Bytes and messages of squares, and of products element by element."""
    made = operation.made
    if made <= _ALONE:
        return _TRANSFERRED * made, 2
    blocks = ceil(made / _SLOTS)
    if blocks <= 3:
        return _BLOCK_BYTES * blocks + _TRANSFERRED * made, 3 + 4 * blocks
    groups = ceil(made / _GROUP)
    return _GROUP_BYTES * groups + _CUT * made, 2 + 12 * groups


def linear(operation: Operation) -> tuple[float, float]:
    """Bytes and messages of products of secret matrices: each party's share times the other's, digits cut off."""
    matrices = operation.matrices
    if matrices is None:
        raise ValueError("a linear layer is a product of matrices")
    sent, answered, packed = _ciphertexts(matrices.rows, matrices.inner, matrices.columns)
    whole = _ANSWERED if packed else _HALF + _COEFFICIENT * matrices.rows * matrices.columns
    cut, messages = scales(operation)
    return 2 * (_SENT * sent + whole * answered) + cut, sent + answered + messages


def _ciphertexts(rows: int, inner: int, columns: int) -> tuple[int, int, bool]:
    """Ciphertexts sent and answered, and whether the answers are packed, for the cheapest blocks.

    Blocks (r, k, c), with r k c <= 8192 and k a power of two, cost 1000 a ciphertext and one an operation on one.
    """
    best = (float("inf"), 0, 0, False)
    k = 1
    while k <= min(inner, _DEGREE):
        down = ceil(inner / k)
        for r in {min(rows, 2**power) for power in range(14)} | {ceil(rows / n) for n in range(1, 65)}:
            if r * k > _DEGREE:
                continue
            c = min(columns, _DEGREE // r // k)
            high, wide = ceil(rows / r), ceil(columns / c)
            sent, answered = min(high, wide) * down, ceil(high * wide / k)
            turned = ceil(rows * columns / _DEGREE) * k
            cost = 1000 * (sent + answered) + turned + high * down * wide / 10
            if cost < best[0]:
                best = (cost, sent, answered, high * wide > 1)
        k *= 2
    return best[1:]
