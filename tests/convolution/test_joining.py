import numpy as np
import pytest

from onnxshallow.convolution import Convolution, convolve, join


def random_convolution(seed, *, outputs, kernel, groups=1, strides=(1, 1), dilations=(1, 1), pads=(0, 0)):
    random = np.random.default_rng(seed)
    weight = random.normal(size=(outputs, 4 // groups, *kernel))
    return Convolution.of(weight, random.normal(size=outputs), strides=strides, dilations=dilations, pads_begin=pads,
                          pads_end=pads, groups=groups)  # fmt: skip


BRANCHES = {
    "1x1 and 3x3": [dict(outputs=3, kernel=(1, 1)), dict(outputs=5, kernel=(3, 3), pads=(1, 1))],
    "three": [
        dict(outputs=2, kernel=(5, 5), pads=(2, 2)),
        dict(outputs=1, kernel=(1, 1)),
        dict(outputs=4, kernel=(3, 3), pads=(1, 1)),
    ],
    "groups": [
        dict(outputs=4, kernel=(3, 3), groups=4, pads=(1, 1)),
        dict(outputs=2, kernel=(1, 1), groups=2),
    ],
    "strides and dilations": [
        dict(outputs=3, kernel=(3, 3), dilations=(2, 2), pads=(2, 2), strides=(2, 2)),
        dict(outputs=3, kernel=(3, 3), pads=(1, 1), strides=(2, 2)),
    ],
    "one": [dict(outputs=3, kernel=(3, 1))],
}


@pytest.mark.parametrize("name", BRANCHES)
def test_outputs_are_those_of_all_in_their_order(name):
    parts = [random_convolution(seed, **options) for seed, options in enumerate(BRANCHES[name])]
    x = np.random.default_rng(9).normal(size=(2, 4, 9, 8))
    expected = np.concatenate([convolve(part, x) for part in parts], axis=1)
    np.testing.assert_allclose(convolve(join(parts), x), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("second", "message"),
    [(dict(outputs=2, kernel=(1, 1), strides=(2, 2)), "strides"), (dict(outputs=2, kernel=(3, 3)), "output sizes")],
)
def test_outputs_of_other_sizes_are_not_joined(second, message):
    with pytest.raises(ValueError, match=message):
        join([random_convolution(0, outputs=2, kernel=(1, 1)), random_convolution(1, **second)])
