import hashlib
import os
import shutil

import numpy as np
import onnx
import pytest
from onnx import external_data_helper, numpy_helper

from onnxshallow.errors import ModelError
from onnxshallow.model.document import as_document, load_document, save_model
from onnxshallow.model.files import file_digest
from onnxshallow.model.network import Network
from tests.graphs import assert_same_function, frozen, parse, plain, signed
from tests.networks import chain

CONV = "(float[N,3,8,8] x) => (float[N,4,6,6] y) { y = Conv(x, w, b) }"


def small() -> onnx.ModelProto:
    return parse(CONV, w=(4, 3, 3, 3), b=(4,))


def large() -> onnx.ModelProto:
    """One tensor above the size that goes to a data file, one below."""
    return parse("(float[N,3,8,8] x) => (float[N,40,6,6] y) { y = Conv(x, w, b) }", w=(40, 3, 3, 3), b=(40,))


def write_with_data(folder, location="w.bin", offset=None, length=None):
    """A model in `folder` whose weight lies in a data file of its own."""
    model = large()
    tensor = model.graph.initializer[0]
    external_data_helper.set_external_data(tensor, location, offset, length)
    content = tensor.raw_data
    tensor.ClearField("raw_data")
    folder.mkdir(exist_ok=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder / "model.onnx", content


def test_round_trip_changes_nothing(tmp_path):
    model = small()
    save_model(model, tmp_path / "a.onnx")
    document = load_document(tmp_path / "a.onnx")
    assert frozen(document.model) == frozen(model)
    assert document.path == tmp_path / "a.onnx"
    assert document.sha256 == file_digest(tmp_path / "a.onnx")
    assert document.sha256 == hashlib.sha256(frozen(model)).hexdigest()
    assert not document.external


def test_saving_twice_gives_the_same_bytes(tmp_path):
    for name in ("a.onnx", "b.onnx"):
        save_model(small(), tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_opset_and_ir_are_kept(tmp_path):
    model = parse(CONV, opset=9, ir=4, w=(4, 3, 3, 3), b=(4,))
    save_model(model, tmp_path / "a.onnx")
    loaded = load_document(tmp_path / "a.onnx").model
    assert loaded.ir_version == 4
    assert [entry.version for entry in loaded.opset_import] == [9]


def test_missing_file(tmp_path):
    with pytest.raises(ModelError, match="no model file"):
        load_document(tmp_path / "none.onnx")


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x08"], ids=["empty", "text", "no graph"])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises(ModelError, match="is not an ONNX model"):
        load_document(tmp_path / "a.onnx")


def test_truncated_file(tmp_path):
    (tmp_path / "a.onnx").write_bytes(small().SerializeToString()[:-100])
    with pytest.raises(ModelError, match="truncated"):
        load_document(tmp_path / "a.onnx")


def test_invalid_model(tmp_path):
    model = small()
    model.graph.node[0].input.append("nothing")
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="not a valid ONNX model"):
        load_document(tmp_path / "a.onnx")


def test_a_model_that_only_the_checker_refuses_is_loaded(tmp_path):
    model = parse("(float[N,3] x) => (float[N,3] y) { y = Relu(x) }")
    model.graph.output[0].type.tensor_type.ClearField("shape")
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    assert load_document(tmp_path / "a.onnx").model.graph.node[0].op_type == "Relu"


def test_operators_of_other_domains_are_accepted(tmp_path):
    model = parse("(float[N,3] x) => (float[N,3] y) { y = mine.Thing(x) }", domains=["mine"])
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    assert load_document(tmp_path / "a.onnx").model.graph.node[0].domain == "mine"


def test_external_data_is_read(tmp_path):
    path, content = write_with_data(tmp_path)
    (tmp_path / "w.bin").write_bytes(content)
    document = load_document(path)
    assert document.external
    np.testing.assert_array_equal(
        numpy_helper.to_array(document.model.graph.initializer[0]), signed("w", (40, 3, 3, 3))
    )
    assert not external_data_helper.uses_external_data(document.model.graph.initializer[0])


def test_external_data_in_a_folder_below_with_an_offset(tmp_path):
    path, content = write_with_data(tmp_path, "data/w.bin", 64, 40 * 27 * 4)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "w.bin").write_bytes(b"?" * 64 + content + b"?")
    assert frozen(plain(load_document(path).model)) == frozen(plain(large()))


def test_external_data_of_constants_in_subgraphs_is_read(tmp_path):
    model = parse("""(bool q) => (float[400] y) {
        y = If(q) <then_branch = a () => (float[400] k) { k = Constant<value = float[1] {1.0}>() },
                   else_branch = b () => (float[400] l) { l = Constant<value = float[1] {2.0}>() }> }""")
    values = signed("k", (400,))
    tensor = model.graph.node[0].attribute[0].g.node[0].attribute[0].t
    tensor.CopyFrom(numpy_helper.from_array(values))
    external_data_helper.set_external_data(tensor, "k.bin")
    tensor.ClearField("raw_data")
    (tmp_path / "k.bin").write_bytes(values.tobytes())
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    document = load_document(tmp_path / "a.onnx")
    loaded = document.model.graph.node[0].attribute[0].g.node[0].attribute[0].t
    np.testing.assert_array_equal(numpy_helper.to_array(loaded), values)
    assert document.external


@pytest.mark.parametrize("location", ["../w.bin", "sub/../../w.bin", "{tmp}/w.bin"], ids=["up", "hidden", "absolute"])
def test_external_data_outside_the_folder_is_refused(tmp_path, location):
    path, content = write_with_data(tmp_path / "model", location.format(tmp=tmp_path))
    (tmp_path / "w.bin").write_bytes(content)
    with pytest.raises(ModelError, match="outside the model's folder"):
        load_document(path)


def test_external_data_behind_a_link_out_of_the_folder_is_refused(tmp_path):
    path, content = write_with_data(tmp_path / "model")
    (tmp_path / "w.bin").write_bytes(content)
    os.symlink(tmp_path / "w.bin", tmp_path / "model" / "w.bin")
    with pytest.raises(ModelError, match="outside the model's folder"):
        load_document(path)


def test_missing_external_data(tmp_path):
    path, _ = write_with_data(tmp_path)
    with pytest.raises(ModelError, match=r"'w.bin' of .* is missing \(tensor 'w'\)"):
        load_document(path)


def test_external_data_that_is_too_short(tmp_path):
    path, content = write_with_data(tmp_path)
    (tmp_path / "w.bin").write_bytes(content[:-4])
    with pytest.raises(ModelError, match=r"\bw\b"):
        load_document(path)


def test_external_data_is_written_and_read_back(tmp_path):
    save_model(large(), tmp_path / "a.onnx", external=True)
    stored = onnx.load(tmp_path / "a.onnx", load_external_data=False)
    assert [external_data_helper.uses_external_data(t) for t in stored.graph.initializer] == [True, False]
    document = load_document(tmp_path / "a.onnx")
    assert document.external
    assert_same_function(document.model, large())
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".data", ".onnx"]


def test_values_in_typed_fields_survive_external_data(tmp_path):
    model = large()
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        tensor.ClearField("raw_data")
        tensor.float_data.extend(values.ravel().tolist())
    onnx.checker.check_model(model)
    save_model(model, tmp_path / "a.onnx", external=True)
    assert [len(tensor.float_data) for tensor in model.graph.initializer] == [40 * 27, 40], "the argument was changed"
    document = load_document(tmp_path / "a.onnx")
    assert [bool(tensor.raw_data) for tensor in document.model.graph.initializer] == [True, False]
    assert_same_function(document.model, large())


def test_saving_beside_the_original_leaves_its_data_alone(tmp_path):
    path, content = write_with_data(tmp_path)
    (tmp_path / "w.bin").write_bytes(content)
    changed = plain(load_document(path).model)
    changed.graph.initializer[0].raw_data = bytes(len(content))
    save_model(changed, tmp_path / "model.shallow.onnx", external=True)
    assert (tmp_path / "w.bin").read_bytes() == content
    assert_same_function(load_document(path).model, large())


def test_saving_again_under_the_same_name_keeps_what_others_refer_to(tmp_path):
    path = tmp_path / "a.onnx"
    save_model(large(), path, external=True)
    (data,) = tmp_path.glob("*.data")
    content = data.read_bytes()
    shutil.copy(path, tmp_path / "copy.onnx")
    changed = large()
    changed.graph.initializer[0].raw_data = bytes(40 * 27 * 4)
    save_model(changed, path, external=True)
    assert data.read_bytes() == content
    assert not numpy_helper.to_array(load_document(path).model.graph.initializer[0]).any()


def test_models_over_the_inline_limit_get_a_data_file(tmp_path, monkeypatch):
    monkeypatch.setattr("onnxshallow.model.document._MAX_INLINE_BYTES", 3000)
    save_model(large(), tmp_path / "a.onnx")
    assert len(list(tmp_path.glob("*.data"))) == 1
    assert_same_function(load_document(tmp_path / "a.onnx").model, large())


def test_no_data_file_without_large_tensors(tmp_path):
    save_model(small(), tmp_path / "a.onnx", external=True)
    assert [p.name for p in tmp_path.iterdir()] == ["a.onnx"]


def test_unwritable_folder(tmp_path):
    for external in (False, True):
        with pytest.raises(ModelError, match="Cannot write"):
            save_model(large(), tmp_path / "none" / "a.onnx", external=external)


def test_a_graph_without_a_name_gets_one(tmp_path):
    model = chain()
    model.graph.name = ""
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    made = load_document(tmp_path / "net.onnx").model
    assert made.graph.name == "graph"
    onnx.checker.check_model(made, full_check=True)


def test_a_document_is_spelled_plainly_on_demand(tmp_path):
    model = chain()
    model.graph.node[1].op_type = "ThresholdedRelu"
    model.graph.node[1].attribute.append(onnx.helper.make_attribute("alpha", 0.0))
    onnx.save(model, tmp_path / "net.onnx")
    document = load_document(tmp_path / "net.onnx")
    assert document.model.graph.node[1].op_type == "ThresholdedRelu"
    assert document.plain.model.graph.node[1].op_type == "Relu"
    assert document.plain is document.plain


@pytest.mark.parametrize("ir", [3, 4, 8])
def test_weights_are_taken_off_the_inputs_where_asked(ir):
    model = parse(
        "(float[N,3,6,6] x) => (float[N,4,6,6] y) { y = Conv(x, w) }", opset=8, ir=ir, as_inputs=True, w=(4, 3, 1, 1)
    )
    free, fixed = as_document(model), as_document(model, freeze=True)
    assert [value.name for value in fixed.model.graph.input] == ["x"]
    assert fixed.model.ir_version == max(ir, 4)
    assert fixed.fingerprint != free.fingerprint
    assert fixed.sha256 == free.sha256
    assert not Network(fixed.model).is_overridable("w")
    assert as_document(fixed, freeze=True) is fixed
    assert [value.name for value in model.graph.input] == ["x", "w"]
