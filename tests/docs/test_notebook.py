"""The notebook of the documentation is run, cell by cell; with Jupyter's own client where that is installed."""

import json
import shutil

import pytest

from tests.docs.session import ROOT

NOTEBOOK = ROOT / "docs" / "digits.ipynb"


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A folder with the models that the notebook looks for, and nothing of a cache."""
    (tmp_path / "models").mkdir()
    for path in (*ROOT.glob("models/digits-*"), ROOT / "models" / "onnxshallow.toml"):
        if ".shallow." not in path.name:
            shutil.copy(path, tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONNXSHALLOW_CACHE", str(tmp_path / "cache"))
    return tmp_path


def cells():
    found = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in found if cell["cell_type"] == "code"]


def test_every_cell_runs(clone, capsys):
    namespace = {}
    for source in cells():
        *_, last = source.splitlines()
        exec(compile(source, str(NOTEBOOK), "exec"), namespace)
        if last.isidentifier():
            assert "<table>" in namespace[last]._repr_html_()
            assert "\n" not in repr(namespace[last])
    said = capsys.readouterr().out
    assert "target_relu is not an option; the nearest is 'target_relus'" in said
    assert "Goal met" in said
    assert namespace["result"].plot()._repr_svg_().startswith("<svg ")


def test_jupyter_runs_it(clone):
    nbclient = pytest.importorskip("nbclient", reason="run with Jupyter where nbclient and ipykernel are installed")
    pytest.importorskip("ipykernel", reason="run with Jupyter where nbclient and ipykernel are installed")
    import nbformat

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": str(clone)}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    kinds = {kind for output in shown for kind in output.get("data", {})}
    assert {"text/html", "image/svg+xml"} <= kinds
    assert not any(output["output_type"] == "error" for output in shown)
