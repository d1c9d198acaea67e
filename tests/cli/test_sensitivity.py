import pytest

from tests.runs import assert_error, files, read_json, run, save_case, strict_json


def measured(*arguments):
    outcome = run("sensitivity", *arguments, "--json", "-")
    assert outcome.exit_code == 0
    return strict_json(outcome.stdout)


@pytest.fixture
def case(tmp_path):
    return save_case(tmp_path)


def test_every_site_has_its_sensitivity_and_the_damage_of_each_candidate(case):
    model, data = case
    report = measured(model, "--calib", data)
    assert report["measure"] == "kl"
    assert report["samples"] == 8
    assert report["source"] == str(data)
    assert [site["name"] for site in report["sites"]] == ["r0", "r1", "r2"]
    for site in report["sites"]:
        assert site["sensitivity"] >= 0
        assert any(key.startswith("fuse") for key in site["damages"]) == site["fusable"]
        assert f"linearize:h{site['name'][1]}->{site['name']}" in site["damages"]


@pytest.mark.parametrize("measure", ["mse", "disagreement", "magnitude"])
def test_every_measure_runs(case, measure):
    report = measured(case[0], "--calib", case[1], "--sensitivity", measure)
    assert report["measure"] == measure
    assert all(site["sensitivity"] is not None for site in report["sites"])


def test_magnitude_on_the_digits_lists_all_sites(digits):
    sites = measured(digits.model, "--sensitivity", "magnitude")["sites"]
    assert len(sites) == 13
    assert all(0 <= site["sensitivity"] <= 1 for site in sites)


def test_people_see_a_table(case):
    outcome = run("sensitivity", case[0], "--calib", case[1])
    assert outcome.exit_code == 0
    assert outcome.stderr == ""
    assert "fuse:" in outcome.stdout
    assert "Damage (softened divergence, T = 2) on 8 held-out samples" in outcome.stdout


def test_nothing_is_written_but_what_is_asked_for(case, tmp_path):
    model, data = case
    assert run("sensitivity", model, "--calib", data, "--json", tmp_path / "a.json").exit_code == 0
    assert files(tmp_path) == {"net.onnx", "data.npz", "a.json"}
    assert read_json(tmp_path / "a.json")["seed"] == 0


def test_what_was_measured_is_kept_for_the_next_run(case, own_cache):
    first = measured(case[0], "--calib", case[1])
    assert len(files(own_cache)) == 1
    assert measured(case[0], "--calib", case[1]) == first
    measured(case[0], "--calib", case[1], "--seed", "1")
    assert len(files(own_cache)) == 2


def test_without_data_it_says_so(case):
    outcome = run("sensitivity", case[0], "--calib-samples", "30", "--sensitivity", "magnitude")
    assert outcome.exit_code == 0
    assert "synthetic" in outcome.stderr
    assert "synthetic" in outcome.stdout


def test_exit_codes(case, tmp_path):
    model, data = case
    assert_error(run("sensitivity", model, "--calib", tmp_path / "none.npz"), 3, "none.npz")
    assert_error(run("sensitivity", tmp_path / "none.onnx", "--calib", data), 3, "none.onnx")
    assert_error(run("sensitivity", model, "--calib", data, "--sensitivity", "guess"), 2, "guess")
    assert_error(run("sensitivity", model, "--calib", data, "--json", model), 2, "never overwritten")
    assert run("sensitivity", model, "--target-relus", "0.5").exit_code == 2
