import numpy as np
import pytest

from tests.networks import signed
from tests.partials import partial

KEPT = [1, 0, 0, 0, 0]
MIXED = partial("z", "y", KEPT, square=[0, 0.5, 0, 0, 0], linear=[0, 1, 1, 0, 0.3], constant=[0, 0, 0, 0.2, 0])


def test_an_element_is_kept_squared_passed_or_affine():
    assert MIXED.squared.tolist() == [False, True, False, False, False]
    assert MIXED.passed.tolist() == [False, False, True, False, False]
    assert not MIXED.is_plain
    assert partial("z", "y", KEPT, linear=1.0).is_plain
    assert not partial("z", "y", KEPT, linear=1.0, constant=0.1).is_plain
    assert not partial("z", "y", KEPT).is_plain  # constants are made, not passed


@pytest.mark.parametrize("spatial", [(), (4,), (3, 4)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_kept_elements_are_activated_and_others_polynomials(spatial, dtype):
    z = signed((2, 5, *spatial)).astype(dtype)
    active = np.maximum(z, 0)
    made = MIXED(z, active)
    assert made.dtype == dtype
    expected = np.stack(
        [active[:, 0], 0.5 * z[:, 1] ** 2 + z[:, 1], z[:, 2], np.full_like(z[:, 3], 0.2), 0.3 * z[:, 4]], axis=1
    )
    np.testing.assert_allclose(made, expected, rtol=1e-2 if dtype == np.float16 else 1e-6)


def test_single_places_are_kept_one_by_one():
    kept = signed((3, 2, 2), 1) > 0
    linear = signed((3, 2, 2), 2)
    z = signed((4, 3, 2, 2))
    made = partial("z", "y", kept, linear=linear)(z, np.maximum(z, 0))
    np.testing.assert_allclose(made, np.where(kept, np.maximum(z, 0), linear * z), rtol=1e-6)
