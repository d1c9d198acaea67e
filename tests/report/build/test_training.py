import pytest

from onnxshallow.model.document import as_document
from onnxshallow.report.build.training import training_report
from tests.runs import net
from tests.search.test_trained import trained

pytest.importorskip("torch", reason="torch is not installed; `pip install '.[finetune]'` brings it")


def test_what_is_reported(tmp_path):
    inputs, found, _ = trained(tmp_path)
    report = training_report(inputs, found, 1.5, as_document(net()))
    assert (report.asked, report.steps, report.done, report.kept, report.seconds) == ("20steps", 20, 20, 20, 1.5)
    assert report.start is not None
    assert [look.step for look in report.looks] == [0, 20]
    assert report.looks[0].loss is None
    assert report.trained == sum(weight.size for weight in _weights())
    assert training_report(inputs, found, 1.5).start is None


def _weights():
    import onnx

    return [onnx.numpy_helper.to_array(tensor) for tensor in net().graph.initializer]
