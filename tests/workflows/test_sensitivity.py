import pytest

from onnxshallow.errors import DataError, UsageError
from onnxshallow.workflows.sensitivity import measure_sensitivity
from tests.networks import smooth
from tests.runs import net, save_case


def test_every_site_has_the_damage_of_removing_it():
    report = measure_sensitivity(net(), smooth(40, 3, 6), cache=None)
    assert [site.name for site in report.sites] == ["r0", "r1", "r2"]
    for site, source in zip(report.sites, ("h0", "h1", "h2"), strict=True):
        assert site.sensitivity == site.damages[f"linearize:{source}->{site.name}"] > 0


def test_the_measure_is_an_option():
    kl, mse = (measure_sensitivity(net(), smooth(40, 3, 6), sensitivity=name, cache=None) for name in ("kl", "mse"))
    assert [site.sensitivity for site in kl.sites] != [site.sensitivity for site in mse.sites]


def test_what_cannot_be_done_is_raised(tmp_path):
    path, _ = save_case(tmp_path)
    with pytest.raises(DataError):
        measure_sensitivity(path, tmp_path / "none.npz")
    with pytest.raises(UsageError, match="calibre"):
        measure_sensitivity(path, calibre=3)


@pytest.mark.parametrize("cache", [True, False, None, "a folder"])
def test_the_cache_is_where_it_is_asked_for(tmp_path, monkeypatch, cache):
    users, own = tmp_path / "users", tmp_path / "own"
    monkeypatch.setenv("ONNXSHALLOW_CACHE", str(users))
    path, data = save_case(tmp_path)
    measure_sensitivity(path, calib=str(data), cache=own if cache == "a folder" else cache)
    assert users.exists() == (cache is True)
    assert own.exists() == (cache == "a folder")
