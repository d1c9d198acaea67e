"""`--html` of the commands that make no model."""

import pytest

from tests.runs import assert_error, run, save_case


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A model, its data, and the optimized model."""
    folder = tmp_path_factory.mktemp("pages")
    model, data = save_case(folder)
    small = folder / "small.onnx"
    outcome = run("optimize", model, "--target-relus", "0.7", "--calib", data, "-o", small)
    assert outcome.exit_code == 0
    return model, data, small


def page_of(folder, *arguments):
    page = folder / "page.html"
    outcome = run(*arguments, "--html", page)
    assert outcome.exit_code in (0, 4)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    return text


def test_sensitivity_shows_each_site(made, tmp_path):
    model, data, _ = made
    page = page_of(tmp_path, "sensitivity", model, "--calib", data)
    assert all(f">{site}<" in page for site in ("r0", "r1", "r2"))
    assert "3 of 3 sites can go; " in page
    assert "<svg" in page


def test_pareto_shows_each_target(made, tmp_path):
    model, data, _ = made
    page = page_of(tmp_path, "pareto", model, "--targets", "0.7,0.01", "--calib", data)
    assert "Target: ReLUs" in page
    assert "cannot be reached" in page
    assert "What is lost" in page


def test_validate_shows_where_the_networks_part(made, tmp_path):
    model, data, small = made
    page = page_of(tmp_path, "validate", model, small, "--data", data, "--layers")
    assert "Where they part" in page
    assert "relative error, power of ten" in page
    assert "Gates" in page


def test_validate_has_a_page_for_one_model_alone(made, tmp_path):
    model, data, small = made
    outcome = run("validate", model, small, small, "--data", data, "--html", tmp_path / "page.html")
    assert_error(outcome, 2, "--html takes one optimized model")


def test_bench_shows_each_model(made, tmp_path):
    model, _, small = made
    page = page_of(tmp_path, "bench", model, small, "--runs", "3", "--no-memory", "--private-model", "semi2k")
    assert str(small.name) in page.replace("<wbr>", "")
    assert "An estimate, not a measurement." in page


def test_a_page_overwrites_no_input(made):
    model, _, small = made
    assert_error(run("bench", model, small, "--html", model), 2, "is the original, which is never overwritten")
