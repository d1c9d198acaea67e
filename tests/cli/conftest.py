import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """A cache of sensitivities that nothing is in yet; its folder."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("ONNXSHALLOW_CACHE", str(folder))
    return folder
