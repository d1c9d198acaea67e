import pytest

from onnxshallow.private import cheetah
from onnxshallow.private.operations import Matrices, Operation

# What SPU 0.9.5 sent, of the second run: bytes, and messages of each party.
LAYERS = [
    ((1024, 27, 16), 1_808_366, 6), ((1024, 144, 16), 1_808_458, 6), ((256, 288, 32), 1_274_119, 5),
    ((64, 576, 64), 2_371_292, 8), ((256, 16, 32), 904_216, 4), ((1, 64, 10), 624_926, 3),
    ((1, 512, 100), 879_023, 3), ((1024, 576, 64), 6_124_032, 15),
]  # fmt: skip
PRODUCTS = [
    (64, 2_256, 2), (2_048, 71_936, 2), (3_000, 1_248_246, 7), (4_096, 1_287_855, 7), (6_000, 2_498_594, 11),
    (12_288, 3_863_652, 15), (16_384, 3_626_096, 14), (20_000, 7_213_716, 26), (131_072, 29_015_876, 98),
]  # fmt: skip


@pytest.mark.parametrize(("sizes", "size", "messages"), LAYERS)
def test_layers_as_measured(sizes, size, messages):
    matrices = Matrices(*sizes)
    made = cheetah.linear(Operation(0, "linear", matrices.made, matrices=matrices))
    assert made == (pytest.approx(size, rel=0.01), messages)


@pytest.mark.parametrize(("made", "size", "messages"), PRODUCTS)
def test_products_as_measured(made, size, messages):
    assert cheetah.products(Operation(0, "square", made)) == (pytest.approx(size, rel=0.01), messages)


@pytest.mark.parametrize(
    ("made", "steps", "size", "messages"),
    [(512, 1, 50_432, 20), (32_768, 1, 3_227_648, 40), (2 * 16_384, 2, 3_227_648, 80), (3 * 4096, 2, 1_210_368, 80)],
)
def test_comparisons_as_measured(made, steps, size, messages):
    assert cheetah.comparisons(Operation(0, "comparison", made, steps)) == (pytest.approx(size, rel=0.01), messages)


@pytest.mark.parametrize(("made", "size", "messages"), [(512, 1_600, 1), (20_000, 62_528, 2)])
def test_cutting_digits_off_as_measured(made, size, messages):
    assert cheetah.scales(Operation(0, "scale", made)) == (pytest.approx(size, rel=0.01), messages)


def test_only_layers_are_products_of_matrices():
    with pytest.raises(ValueError, match="matrices"):
        cheetah.linear(Operation(0, "linear", 1))
