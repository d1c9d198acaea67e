import logging

import numpy as np
import pytest

from onnxshallow.data.prepare import is_fixed, labelled_batches, load_report_samples, prepare
from onnxshallow.errors import DataError
from onnxshallow.model.tensors import TensorInfo
from onnxshallow.options.config import Config


def tensor(*shape, name="x"):
    return TensorInfo(name, np.dtype(np.float32), shape)


INPUT = tensor("N", 2)


def source(folder, count=100, labels=False, name="data.npz"):
    """Samples that say which they are."""
    values = np.stack([np.arange(count), -np.arange(count)], axis=1).astype(np.float32)
    np.savez(folder / name, x=values, **({"y": np.arange(count) % 7} if labels else {}))
    return str(folder / name)


def numbers(samples):
    return samples.batch(np.arange(len(samples)))["x"][:, 0].astype(int).tolist()


def test_a_fifth_is_kept_apart_for_the_report(tmp_path):
    prepared = prepare(Config(calib=source(tmp_path)), [INPUT])
    parts = [numbers(part) for part in (prepared.fit, prepared.selection, prepared.report)]
    assert [len(part) for part in parts] == [60, 20, 20]
    assert prepared.calibrated == 80
    assert sorted([*parts[0], *parts[1], *parts[2]]) == list(range(100))
    assert (prepared.synthetic, prepared.validated) == (False, True)


def test_with_validation_data_all_calibration_samples_are_used(tmp_path):
    calib, test = source(tmp_path), source(tmp_path, 30, labels=True, name="test.npz")
    prepared = prepare(Config(calib=calib, validate_data=test), [INPUT])
    assert (len(prepared.fit), len(prepared.selection)) == (75, 25)
    assert not set(numbers(prepared.fit)) & set(numbers(prepared.selection))
    assert numbers(prepared.report) == list(range(30))
    assert prepared.report.labels.tolist() == [i % 7 for i in range(30)]


def test_labels_reach_the_report_only(tmp_path):
    prepared = prepare(Config(calib=source(tmp_path, labels=True)), [INPUT])
    assert prepared.fit.labels is prepared.selection.labels is None
    assert prepared.report.labels.tolist() == [number % 7 for number in numbers(prepared.report)]


def test_labels_reach_the_pool_where_they_are_to_be_learned_from(tmp_path):
    calib = source(tmp_path, labels=True)
    assert prepare(Config(calib=calib, calib_samples=40), [INPUT]).pool.labels is None
    prepared, without = (prepare(Config(calib=calib, calib_samples=40, labels=on), [INPUT]) for on in (True, False))
    assert prepared.fit.labels is prepared.selection.labels is None
    assert prepared.pool.labels.tolist() == [number % 7 for number in numbers(prepared.pool)]
    for part in ("fit", "selection", "report", "pool"):
        assert numbers(getattr(prepared, part)) == numbers(getattr(without, part))


def test_labels_change_neither_splits_nor_fingerprint(tmp_path):
    with_labels = prepare(Config(calib=source(tmp_path, labels=True)), [INPUT])
    without = prepare(Config(calib=source(tmp_path)), [INPUT])
    assert with_labels.fingerprint() == without.fingerprint()
    assert numbers(with_labels.report) == numbers(without.report)


@pytest.mark.parametrize("change", [{"seed": 1}, {"calib_samples": 90}, {"batch_size": 7}])
def test_the_fingerprint_knows_what_was_used(tmp_path, change):
    calib = source(tmp_path)
    assert (
        prepare(Config(calib=calib, **change), [INPUT]).fingerprint()
        != prepare(Config(calib=calib), [INPUT]).fingerprint()
    )


def test_samples_are_limited(tmp_path):
    calib = source(tmp_path)
    prepared = prepare(Config(calib=calib, calib_samples=40, validate_data=calib, validate_samples=10), [INPUT])
    assert [len(part) for part in (prepared.fit, prepared.selection, prepared.report)] == [30, 10, 10]


def test_without_data_samples_are_made_up_loudly(caplog):
    with caplog.at_level(logging.WARNING):
        prepared = prepare(Config(calib_samples=50), [tensor("N", 3, 8, 8)])
    assert "NOT validated" in caplog.text
    assert (prepared.synthetic, prepared.validated) == (True, False)
    assert [len(part) for part in (prepared.fit, prepared.selection, prepared.report)] == [30, 10, 10]
    assert prepared.report.labels is None


def test_what_is_made_without_data_is_judged_on_other_sorts_of_samples(tmp_path):
    prepared = prepare(Config(calib_samples=50), [tensor("N", 3, 8, 8)])
    assert [len(samples) for samples in prepared.others.values()] == [16] * 4
    fixed = prepare(Config(calib_samples=50), [tensor(6, 3, 8, 8)])
    assert [len(samples) for samples in fixed.others.values()] == [18] * 4
    few, many = (prepare(Config(calib_samples=count), [tensor("N", 3, 4, 4)]) for count in (8, 640))
    assert len(few.others["strokes on a plain ground"]) == 8
    assert len(many.others["strokes on a plain ground"]) == 40
    assert prepare(Config(calib=source(tmp_path)), [INPUT]).others == {}
    assert prepare(Config(calib_samples=50, validate_data=source(tmp_path)), [INPUT]).others == {}


def test_validation_data_validate_what_was_made_up(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        prepared = prepare(Config(calib_samples=50, validate_data=source(tmp_path)), [INPUT])
    assert "synthetic" in caplog.text
    assert "NOT validated" not in caplog.text
    assert (prepared.synthetic, prepared.validated) == (True, True)


def test_open_axes_of_made_up_samples_need_sizes():
    with pytest.raises(DataError, match="--input-shape"):
        prepare(Config(calib_samples=50), [tensor("N", 3, "H", "W")])
    shaped = Config(calib_samples=50, input_shape={"x": (1, 3, 8, 9)})
    prepared = prepare(shaped, [tensor("N", 3, "H", "W")])
    assert prepared.fit.batch([0, 1])["x"].shape == (2, 3, 8, 9)
    assert prepared.batch == 64


def test_the_models_own_batch_size_wins(tmp_path):
    assert prepare(Config(calib=source(tmp_path), batch_size=16), [tensor(5, 2)]).batch == 5
    assert prepare(Config(calib=source(tmp_path), batch_size=16), [INPUT]).batch == 16


def test_every_split_must_fill_a_batch(tmp_path):
    with pytest.raises(DataError, match=r"exactly 21, but a split has 20 samples"):
        prepare(Config(calib=source(tmp_path)), [tensor(21, 2)])
    small = source(tmp_path, 3, name="test.npz")
    with pytest.raises(DataError, match=r"exactly 4, but a split has 3 samples"):
        load_report_samples(Config(validate_data=small), [tensor(4, 2)])


def test_inputs_must_agree_on_the_batch(tmp_path):
    np.savez(tmp_path / "two.npz", x=np.zeros((20, 2), np.float32), z=np.zeros((20, 3), np.float32))
    with pytest.raises(DataError, match=r"\('x' to 2, 'z' to 4\)"):
        prepare(Config(calib=str(tmp_path / "two.npz")), [tensor(2, 2), tensor(4, 3, name="z")])


def test_too_few_samples_are_an_error(tmp_path):
    with pytest.raises(DataError, match="2 samples"):
        prepare(Config(calib=source(tmp_path, 2)), [INPUT])


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [([("N", 2)], False), ([(4, 2)], True), ([(4,)], False), ([None], False), ([("N", 2), (4, 2)], True),
     ([("N", 2), (1,)], True)],
)  # fmt: skip
def test_which_networks_fix_their_batch(shapes, expected):
    infos = [TensorInfo("x", np.dtype(np.float32), shape) for shape in shapes]
    assert is_fixed(infos) == expected


def test_report_samples_come_with_labels(tmp_path):
    data = source(tmp_path, labels=True)
    samples, batch = load_report_samples(Config(validate_data=data, validate_samples=9, batch_size=4), [INPUT])
    assert (len(samples), batch) == (9, 4)
    assert samples.labels.tolist() == [number % 7 for number in numbers(samples)]


def test_batches_carry_their_labels(tmp_path):
    samples, _ = load_report_samples(Config(validate_data=source(tmp_path, 10, labels=True)), [INPUT])
    batches = list(labelled_batches(samples, 4))
    assert [len(feeds["x"]) for feeds, _ in batches] == [4, 4, 2]
    for feeds, labels in batches:
        assert labels.tolist() == [int(number) % 7 for number in feeds["x"][:, 0]]
    assert [len(feeds["x"]) for feeds, _ in labelled_batches(samples, 4, whole=True)] == [4, 4]


def test_batches_without_labels_say_so(tmp_path):
    samples, _ = load_report_samples(Config(validate_data=source(tmp_path, 10)), [INPUT])
    assert [labels for _, labels in labelled_batches(samples, 5, whole=True)] == [None, None]


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(12296,), ("N", 2)], r"'x0' is a vector of 12296 and has no batch axis.*such as \(N, 12296\)"),
        ([("N", 2), (5,)], "'x1' is a vector of 5"),
        ([("N", 512), (2, "N", 128)], "first axis of input 'x1'.*is not the batch, as for the state"),
    ],
)
def test_inputs_without_a_batch_axis_are_named(shapes, message):
    infos = [TensorInfo(f"x{i}", np.dtype(np.float32), shape) for i, shape in enumerate(shapes)]
    with pytest.raises(DataError, match=message):
        prepare(Config(), infos)


@pytest.mark.parametrize("side", [(1,), (1, 1, 1, 1), ("N",)])
def test_a_side_input_may_fix_the_batch(side):
    infos = [TensorInfo("x", np.dtype(np.float32), ("N", 2)), TensorInfo("k", np.dtype(np.float32), side)]
    assert prepare(Config(), infos).batch == (1 if side[0] == 1 else Config().batch_size)


def test_options_for_pixels_are_told_to_be_of_no_use_where_no_input_takes_images(caplog):
    infos = [TensorInfo("t", np.dtype(np.int64), ("N", 7))]
    prepare(Config(mean=(0.5,), scale=2), infos)
    assert "--mean and --scale not used, as no input takes images" in caplog.text
