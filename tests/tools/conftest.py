"""The training tool as a module, with the folder it lies in on the path as when it is run."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools"


@pytest.fixture(scope="module")
def zoo() -> Iterator[ModuleType]:
    pytest.importorskip("torch", reason="training the zoo needs torch (the zoo extra)")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(TOOLS)
        yield importlib.import_module("train_zoo")


@pytest.fixture(scope="module")
def training(zoo: ModuleType) -> ModuleType:
    return importlib.import_module("zoo.training")


@pytest.fixture(scope="module")
def networks(zoo: ModuleType) -> ModuleType:
    return importlib.import_module("zoo.networks")


@pytest.fixture(scope="module")
def smooth(zoo: ModuleType) -> ModuleType:
    return importlib.import_module("zoo.smooth")
