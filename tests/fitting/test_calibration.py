from onnxshallow.fitting.calibration import Calibration
from onnxshallow.fitting.correction import FitOptions
from onnxshallow.runtime.store import ActivationStore
from tests.networks import calibration_of, signed


def test_the_leading_batches_are_fitted_on_and_the_others_held_out():
    batches = [{"x": signed((2, 3), seed)} for seed in range(5)]
    calibration = Calibration(batches, 3, ActivationStore(0))
    assert calibration.batches[calibration.fitting] == batches[:3]
    assert calibration.batches[calibration.selection] == batches[3:]


def test_all_batches_may_be_fitted_on():
    calibration = calibration_of({"x": signed((8, 3))}, batch=4, fit_batches=2)
    assert len(calibration.batches[calibration.fitting]) == 2
    assert list(calibration.batches[calibration.selection]) == []


def test_fit_options_have_defaults():
    assert Calibration([], 0, ActivationStore(0)).fit == FitOptions()
