import onnx

import onnxshallow
from onnxshallow.model.files import file_digest
from onnxshallow.model.notes import notes_of
from onnxshallow.report.build.provenance import provenance_report
from tests.runs import net, save_case

QUICK = {"sensitivity": "magnitude", "target_relus": 0.7, "max_error": 1e6}


def test_a_model_that_was_made_says_of_what_and_how(tmp_path):
    model, data = save_case(tmp_path)
    result = onnxshallow.optimize(model, data, cache=None, **QUICK)
    found = provenance_report(result.model)
    assert (found.version, found.input_sha256) == (onnxshallow.__version__, file_digest(model))
    assert found.plan_sha256 == result.plan.digest
    changed = {name for change in result.report.changes for name in change.sites}
    assert changed
    assert changed <= set(found.nodes) < {node.name for node in result.report.original_nodes}
    assert result.report.optimized.size_bytes == len(result.model.SerializeToString())
    applied = onnxshallow.apply_plan(model, result.plan, data, max_error=1e6)
    assert applied.model.SerializeToString() == result.model.SerializeToString()


def test_it_can_be_left_out(tmp_path):
    model, data = save_case(tmp_path)
    result = onnxshallow.optimize(model, data, cache=None, metadata=False, **QUICK)
    assert set(notes_of(result.model)) <= {"scales"}
    assert provenance_report(result.model) is None


def test_what_a_model_said_before_is_no_longer_said(tmp_path):
    model, data = save_case(tmp_path)
    first = onnxshallow.optimize(model, data, cache=None, **QUICK)
    onnx.save(first.model, tmp_path / "first.onnx")
    second = onnxshallow.optimize(
        tmp_path / "first.onnx", data, cache=None, sensitivity="magnitude", target_relus=0.6, max_error=1e6
    )
    assert provenance_report(second.model).input_sha256 == file_digest(tmp_path / "first.onnx")
    assert provenance_report(net()) is None
