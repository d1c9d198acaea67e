import numpy as np
import pytest

from onnxshallow.analysis import analyze
from onnxshallow.fitting.gathering import KnownRows, Places, gather_rows
from onnxshallow.fitting.patches import gather_outputs, gather_patches
from onnxshallow.fitting.targets import Target
from onnxshallow.runtime.store import ActivationStore
from tests.fitting.fitting_cases import cursor, layer_of
from tests.networks import chain, run_exactly, signed
from tests.partials import partial
from tests.properties.cases import with_outputs

BATCHES = [{"x": signed((4, 3, 8, 8), 1)}, {"x": signed((2, 3, 8, 8), 2)}]


LAST = Target("y")


def gathered(target=LAST, rows=None, known=None, seed=0):
    """The rows of the chain's last layer, and the places; the cursors have not been advanced before."""
    analysis = analyze(chain())
    before, after = cursor(analysis, BATCHES, goals=["h", "y"]), cursor(analysis, BATCHES, goals=["r", "y"])
    after.advance(["r", "y"])
    convolution = analysis.layers.convolution(layer_of(analysis, "y"))
    places = Places.all(convolution, after["r"])
    if rows is not None:
        places = places.drawn(rows, (seed, target.tensor))
    return gather_rows(before, after, "r", target, convolution, places, known), places, before


def tensors(*names):
    """What the chain makes of each batch, one list a tensor."""
    model = with_outputs(chain(), names)
    runs = [dict(zip([o.name for o in model.graph.output], run_exactly(model, b), strict=True)) for b in BATCHES]
    return [[run[name] for run in runs] for name in names]


def test_patches_and_targets_lie_side_by_side():
    rows, places, _ = gathered()
    analysis = analyze(chain())
    convolution = analysis.layers.convolution(layer_of(analysis, "y"))
    read, made = tensors("r", "y")
    assert places.counts == (256, 128)
    for part, x, y in zip((slice(0, 256), slice(256, 384)), read, made, strict=True):
        np.testing.assert_allclose(rows.patches[:, part], gather_patches(x, convolution, None), atol=1e-5)
        np.testing.assert_allclose(rows.targets[:, part], gather_outputs(y, 1, None), atol=1e-5)


def test_the_places_of_a_target_depend_on_the_seed_and_the_tensor_alone():
    positions = [gathered(rows=60, seed=seed)[1].positions for seed in (0, 0, 1)]
    assert [len(chosen) for chosen in positions[0]] == [10, 10]
    np.testing.assert_array_equal(positions[0], positions[1])
    assert np.any(np.array(positions[0]) != np.array(positions[2]))
    _, places, _ = gathered()
    assert np.any(np.array(places.drawn(60, (0, "y")).positions) != np.array(places.drawn(60, (0, "h")).positions))


def test_no_more_rows_are_drawn_than_there_are():
    assert gathered(rows=10**6)[1].positions == [None, None]


def test_what_is_subtracted_is_gathered_at_the_same_places():
    rows, _, _ = gathered(Target("y", minus="y"), rows=60)  # nothing is changed, so both networks make the same
    np.testing.assert_array_equal(rows.offsets, rows.targets)


def test_the_original_is_not_run_again_for_rows_that_are_known():
    known = KnownRows(ActivationStore(1 << 30))
    first, _, before = gathered(known=known)
    again, _, untouched = gathered(known=known)
    with pytest.raises(KeyError):
        untouched["y"]
    assert before["y"]
    np.testing.assert_array_equal(first.targets, again.targets)


def test_rows_at_other_places_are_not_those_that_are_known():
    known = KnownRows(ActivationStore(1 << 30))
    gathered(known=known)
    fewer, places, _ = gathered(rows=60, known=known)
    alone, _, _ = gathered(rows=60)
    assert places.count == 60
    np.testing.assert_array_equal(fewer.targets, alone.targets)


@pytest.mark.parametrize("shape", [(4,), (4, 8, 8)], ids=["channels", "elements"])
def test_elements_that_pass_an_activation_are_fitted_to_what_it_makes(shape):
    kept = np.ones(shape, dtype=bool)
    kept[1] = False
    straight = partial("y", "r2", kept, linear=1.0)
    rows, _, _ = gathered(Target("y", partial=straight), rows=60, known=other("r2"))
    plain, _, _ = gathered(rows=60)
    np.testing.assert_array_equal(rows.targets[..., 1], -7)
    np.testing.assert_array_equal(rows.targets[..., [0, 2, 3]], plain.targets[..., [0, 2, 3]])


def other(tensor):
    """Known rows of a tensor that the chain lacks: minus seven everywhere."""

    class Known(KnownRows):
        def get(self, key, gather):
            return np.full((1, 60, 4), -7, np.float32) if key[0] == tensor else super().get(key, gather)

    return Known(ActivationStore(1 << 30))


def test_channels_that_are_to_hold_zeros_are_fitted_to_zeros():
    plain = gathered()[0].targets
    dead = np.arange(plain.shape[2]) % 2 == 0
    zeroed = gathered(Target("y", dead=dead))[0].targets
    np.testing.assert_array_equal(zeroed[:, :, dead], 0)
    np.testing.assert_array_equal(zeroed[:, :, ~dead], plain[:, :, ~dead])
    assert zeroed.dtype == np.float32
