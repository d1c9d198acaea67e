"""The JSON Schemas in the documentation are those that the program prints."""

import json

import pytest

from onnxshallow.report.schema.published import PUBLISHED
from tests.runs import run
from tools import schemas


def test_there_is_a_file_for_each_and_no_other():
    assert {path.stem for path in schemas.FOLDER.iterdir()} == set(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_files_are_up_to_date(name):
    published = (schemas.FOLDER / f"{name}.json").read_text(encoding="utf-8")
    assert published == run("schema", name).stdout, "run: python -m tools.schemas"


def test_the_page_names_every_file():
    page = schemas.FOLDER.with_suffix(".md").read_text(encoding="utf-8")
    assert all(f"(schemas/{name}.json)" in page for name in PUBLISHED)


def test_what_is_no_schema_any_more_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(schemas, "FOLDER", tmp_path / "schemas")
    schemas.FOLDER.mkdir()
    (schemas.FOLDER / "gone.json").write_text("{}", encoding="utf-8")
    schemas.main()
    assert {path.stem for path in schemas.FOLDER.iterdir()} == set(PUBLISHED)
    assert json.loads((schemas.FOLDER / "doctor.json").read_text(encoding="utf-8"))["title"] == "DoctorReport"
