import json

from onnxshallow.report.schema.published import PUBLISHED
from tests.runs import assert_error, read_json, run


def test_without_a_name_all_are_listed():
    outcome = run("schema")
    assert outcome.exit_code == 0
    assert outcome.stdout.split() == list(PUBLISHED)
    assert json.loads(run("schema", "--json", "-").stdout) == {"schemas": list(PUBLISHED)}


def test_a_schema_goes_to_stdout_or_to_a_file(tmp_path):
    outcome = run("schema", "doctor")
    assert outcome.exit_code == 0
    run("schema", "doctor", "--json", tmp_path / "a.json")
    assert read_json(tmp_path / "a.json") == json.loads(outcome.stdout)
    assert run("schema", "doctor", "--json", tmp_path / "b.json").stdout == ""


def test_an_unknown_name_is_a_usage_error():
    assert_error(run("schema", "reports"), 2, "There is no schema 'reports'; there are options, analyze")
