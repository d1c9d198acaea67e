"""Settings and fixtures for all tests."""

import logging
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

from onnxshallow.fitting.threads import computing
from onnxshallow.runtime.progress import Silent
from onnxshallow.search.inputs import observe
from onnxshallow.search.sensitivity.meter import DamageMeter
from tests.runs import DIGITS, DigitsRun, load_case, run
from tests.short_runs import SETTINGS

# Every machine draws the same examples, and a slow one does not fail for being slow.
settings.register_profile("onnxshallow", derandomize=True, deadline=None)
settings.load_profile("onnxshallow")

MODELS = Path(__file__).resolve().parents[1] / "models"

# The files that take longest, which are begun first: one file is one worker's, and none should be left alone with it.
LONGEST = (
    "docs/test_code_blocks.py",
    "test_operations.py",
    "test_partial_activations.py",
    "corpus/test_optimize.py",
    "cli/test_optimize.py",
    "properties/test_graphs.py",
    "damage/test_damage.py",
    "cli/test_validate.py",
    "test_verdicts.py",
)


def pytest_collection_modifyitems(items):
    """Put the tests of the longest files first."""
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture(scope="session", autouse=True)
def no_cache_of_the_user(tmp_path_factory):
    """Keep the tests' sensitivities out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONNXSHALLOW_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def logging_as_before():
    """Undo what commands do to logging."""
    root = logging.getLogger()
    level = root.level
    handlers = list(root.handlers)
    yield
    root.setLevel(level)
    for handler in set(root.handlers) - set(handlers):
        root.removeHandler(handler)


@pytest.fixture(scope="session", autouse=True)
def short_runs():
    """Runs in the tests' own process are short."""
    with pytest.MonkeyPatch.context() as patch, computing(1):
        for module, name, value in SETTINGS:
            patch.setattr(module, name, value)
        yield


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """The digits network after one run of `optimize`, which many tests look at."""
    folder = tmp_path_factory.mktemp("digits")
    for name in DIGITS:
        shutil.copy(MODELS / name, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    plan = folder / "plan.json"
    outcome = run("optimize", folder / "digits-resnet.onnx", "--target-relus", "0.5", "--plan-out", plan)
    return DigitsRun(folder, before, outcome)


@pytest.fixture
def digits_files(tmp_path):
    """A folder with the digits network and its data; the path of the network."""
    for name in DIGITS:
        shutil.copy(MODELS / name, tmp_path)
    return tmp_path / "digits-resnet.onnx"


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    """What the stages begin with, of a small network."""
    return load_case(tmp_path_factory.mktemp("case"))


@pytest.fixture(scope="session")
def observation(inputs):
    """What that network does with its samples."""
    return observe(inputs, Silent())


@pytest.fixture(scope="session")
def measured(inputs, observation):
    """The damage of every candidate of that network."""
    return DamageMeter(inputs, observation, Silent(), None).measure_all()
