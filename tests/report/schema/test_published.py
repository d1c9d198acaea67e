import tomllib

import pytest

from onnxshallow.errors import UsageError
from onnxshallow.options.config import load_config
from onnxshallow.options.schema import Config
from onnxshallow.report.schema.published import PUBLISHED, json_schema
from onnxshallow.workflows.doctor import examine

TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "number": (int, float),
    "integer": int,
    "boolean": bool,
    "null": type(None),
}


def fits(value, schema, whole):
    """Whether a value is as a JSON Schema says, as far as ours go."""
    if "$ref" in schema:
        schema = whole["$defs"][schema["$ref"].rpartition("/")[2]]
    kind = schema.get("type")
    if kind is not None and (not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind != "boolean")):
        return False
    if value not in schema.get("enum", [value]) or value != schema.get("const", value):
        return False
    if kind in ("number", "integer") and value <= schema.get("exclusiveMinimum", float("-inf")):
        return False
    if "anyOf" in schema:
        return any(fits(value, one, whole) for one in schema["anyOf"])
    if isinstance(value, list):
        return all(fits(one, schema.get("items", {}), whole) for one in value)
    if isinstance(value, dict):
        known, rest = schema.get("properties", {}), schema.get("additionalProperties", {})
        return set(schema.get("required", ())) <= set(value) and all(
            (name in known or rest is not False) and fits(one, known.get(name, rest), whole)
            for name, one in value.items()
        )
    return True


def test_options_have_the_names_of_the_file():
    schema = json_schema("options")
    also = ["target-activations"]
    assert [name for name in schema["properties"] if name not in also] == [
        field.alias for field in Config.model_fields.values()
    ]
    assert schema["properties"]["target-activations"] == schema["properties"]["target-relus"]
    assert schema["additionalProperties"] is False
    assert "required" not in schema
    assert "null" not in str(schema)


@pytest.mark.parametrize(
    "text",
    [
        "mean = [0.4, 0.5, 0.6]",
        'mean = "0.4, 0.5, 0.6"',
        "mean = 0.5",
        "kernel = 3",
        'kernel = "3"',
        "memory = 1000000",
        'memory = "4G"',
        "target-relus = 0.58",
        'target-relus = "320k"',
        'target-latency = "3.5ms"',
        "input-shape = { x = [1, 3, 8, 8] }",
        'input-shape = "x:1,3,8,8"',
        'input-shape = ["x:1,3,8,8"]',
        'providers = "cuda, cpu"',
        'providers = ["cuda"]',
        'calib = "a.npz"',
        'preset = "mnist"',
    ],
)
def test_what_the_file_may_say_fits_the_schema(tmp_path, text):
    (tmp_path / "a.toml").write_text(text, encoding="utf-8")
    load_config(tmp_path / "a.toml")
    schema = json_schema("options")
    assert fits(tomllib.loads(text), schema, schema)


@pytest.mark.parametrize(
    "text", ["target-relu = 0.5", "kernel = 7", 'preset = "svhn"', "calib-samples = 0", "calib = 3", "mean = true"]
)
def test_what_the_file_may_not_say_does_not(text):
    schema = json_schema("options")
    assert not fits(tomllib.loads(text), schema, schema)


def test_options_are_described_as_in_the_help():
    assert json_schema("options")["properties"]["resize"]["description"] == (
        "The shorter side is scaled to this, or height and width to 48x192."
    )


def test_a_report_fits_its_schema():
    report, schema = examine().model_dump(mode="json"), json_schema("doctor")
    assert fits(report, schema, schema)
    assert not fits({**report, "cores": "two"}, schema, schema)
    assert not fits({name: value for name, value in report.items() if name != "cores"}, schema, schema)


def test_a_schema_goes_on_holding_as_fields_are_added():
    report, schema = examine().model_dump(mode="json"), json_schema("doctor")
    assert fits({**report, "more": 1, "packages": [{**report["packages"][0], "more": 1}]}, schema, schema)


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name != "options"])
def test_a_schema_holds_for_one_version_of_the_reports(name):
    assert json_schema(name)["properties"]["schema_version"]["const"] == 1


def test_numbers_of_reports_may_be_null():
    damage = json_schema("dry-run")["properties"]["damage"]
    assert {"type": "null"} in damage["anyOf"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_schema_says_what_it_is(name):
    schema = json_schema(name)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert schema["description"]


def test_an_unknown_name_is_told_with_those_there_are():
    with pytest.raises(UsageError, match="There is no schema 'report'; there are options, analyze"):
        json_schema("report")
