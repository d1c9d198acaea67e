import math

import numpy as np
import pytest

from onnxshallow.errors import DataError, UsageError
from onnxshallow.validation.user_metric import load_metric


@pytest.fixture
def load(tmp_path):
    """Makes a metric of a function's source."""

    def make(text):
        (tmp_path / "own.py").write_text(f"import numpy as np\n{text}\n")
        return load_metric(f"{tmp_path / 'own.py'}:metric")

    return make


def outputs(values):
    return {"y": np.asarray(values, np.float64)}


def test_values_a_sample_are_averaged_and_have_an_interval(load):
    metric = load("def metric(outputs, labels): return outputs['y'][:, 0] == labels")
    rng = np.random.default_rng(0)
    first, second, labels = (rng.integers(0, 3, size=(50, 1)) for _ in range(3))
    for part in (slice(0, 20), slice(20, 50)):
        metric.add(outputs(first[part]), outputs(second[part]), labels[part, 0], len(labels[part]))
    found = metric.result()
    right = [(each == labels).ravel().astype(float) for each in (first, second)]
    assert (found.original, found.optimized, found.samples) == (right[0].mean(), right[1].mean(), 50)
    assert found.difference == pytest.approx(right[1].mean() - right[0].mean())
    differences = right[1] - right[0]
    radius = 1.96 * differences.std(ddof=1) / math.sqrt(50)
    expected = (differences.mean() - radius, differences.mean() + radius)
    assert found.difference_interval == pytest.approx(expected, rel=1e-4)
    assert found.name.endswith("own.py:metric")


def test_a_number_a_batch_counts_as_its_samples_do(load):
    metric = load("def metric(outputs, labels): return outputs['y'].mean()")
    metric.add(outputs([1, 1, 1]), outputs([2, 2, 2]), None, 3)
    metric.add(outputs([5]), outputs([4]), None, 1)
    found = metric.result()
    assert (found.original, found.optimized, found.difference) == (2.0, 2.5, 0.5)
    assert found.difference_interval is None


def test_what_is_no_number_is_passed_on(load):
    metric = load("def metric(outputs, labels): return outputs['y']")
    metric.add(outputs([1, 2]), outputs([1, math.inf]), None, 2)
    metric.add(outputs([1, 2]), outputs([1, math.nan]), None, 2)
    found = metric.result()
    assert (found.original, found.difference_interval) == (1.5, None)
    assert math.isnan(found.optimized)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("def metric(outputs, labels): return 1 / 0", "raised ZeroDivisionError: division by zero"),
        ("def metric(outputs): return 1", "raised TypeError"),
        ("def metric(outputs, labels): exit(0)", "raised SystemExit"),
        (
            "def metric(outputs, labels): outputs['y'][:] = 0",
            "raised ValueError: assignment destination is read-only",
        ),
        ("def metric(outputs, labels): return 'good'", "returned str; it must return a number"),
        ("def metric(outputs, labels): return None", "returned NoneType; it must return a number"),
        ("def metric(outputs, labels): return [[1], [1, 2]]", "returned list; it must return a number"),
        ("def metric(outputs, labels): return [1, 2]", r"returned values of shape \(2,\) for a batch of 3"),
    ],
)
def test_a_function_that_fails_is_named(load, text, problem):
    metric = load(text)
    with pytest.raises(DataError, match=f"own.py:metric: {problem}"):
        metric.add(outputs([1, 2, 3]), outputs([1, 2, 3]), None, 3)


def test_a_file_that_fails_is_named(load, tmp_path):
    with pytest.raises(DataError, match=r"own\.py:metric: raised NameError"):
        load("undefined")
    with pytest.raises(DataError, match="has no function 'metric'"):
        load("metric = 5")
    with pytest.raises(DataError, match=r"there is no file .*none.py"):
        load_metric(f"{tmp_path / 'none.py'}:metric")
    with pytest.raises(UsageError, match=r"--metric accuracy: write it as file\.py:function"):
        load_metric("accuracy")
