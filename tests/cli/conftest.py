import pytest

from tests.runs import save_case


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """A cache of sensitivities that nothing is in yet; its folder."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("ONNXSHALLOW_CACHE", str(folder))
    return folder


@pytest.fixture
def case(tmp_path):
    """The paths of a small network and of data for it."""
    return save_case(tmp_path)
