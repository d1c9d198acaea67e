import numpy as np
import onnx
import pytest

import onnxshallow
from onnxshallow.errors import TargetError
from onnxshallow.model.measurable import measurable
from tests.graphs import assert_close, frozen, interface, ops, parse, run_plain, signed
from tests.runs import ANY_LOSS, made, run, save_case

LSTM = """{ h = Conv<pads=[1,1]>(x, w0) r = Relu(h) g = Conv<pads=[1,1]>(r, w1) q = Relu(g)
    t = Transpose<perm=[2,0,1]>(q) h0 = Slice(state, zero, one, zero) c0 = Slice(state, one, two, zero)
    o, hn, cn = LSTM<hidden_size=4>(t, W, R, "", "", h0, c0) out = Concat<axis=0>(hn, cn)
    s = Squeeze(o, one) l = Transpose<perm=[1,2,0]>(s) y = Conv(l, w3) }"""
LSTM_WEIGHTS = dict(
    w0=(6, 1, 3), w1=(6, 6, 3), w3=(2, 4, 3), W=(1, 16, 6), R=(1, 16, 4),
    zero=np.array([0]), one=np.array([1]), two=np.array([2]),
)  # fmt: skip
VECTOR = """u = Unsqueeze(x, zero) h = Gemm(u, w1) r = Relu(h) g = Gemm(r, w2) q = Relu(g)
    z = Gemm(q, w3) y = Squeeze(z, zero)"""
VECTOR_WEIGHTS = dict(w1=(12, 8), w2=(8, 8), w3=(8, 5), zero=np.array([0]))
CHAIN = "h = Conv<pads=[1,1,1,1]>(x, w0) r = Relu(h) g = Conv<pads=[1,1,1,1]>(r, w1) q = Relu(g) k = Conv(q, w2)"
CHAIN_WEIGHTS = dict(w0=(4, 3, 3, 3), w1=(4, 4, 3, 3), w2=(4, 4, 1, 1))


def shapes(model: onnx.ModelProto) -> dict[str, tuple[int | str, ...]]:
    """The shapes of the inputs and outputs that have one."""
    values = [v for v in (*model.graph.input, *model.graph.output) if v.type.tensor_type.HasField("shape")]
    return {v.name: tuple(d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim) for v in values}


CASES = {
    "a vector": (
        parse(f"(float[12] x) => (float[5] y) {{ {VECTOR} }}", **VECTOR_WEIGHTS),
        {"x": (1, 12), "y": (1, 5)},
    ),
    "a vector before opset 13": (
        parse(
            """(float[12] x) => (float[5] y) { u = Unsqueeze<axes=[0]>(x) h = Gemm(u, w1) r = Relu(h)
            z = Gemm(r, w2) y = Squeeze<axes=[0]>(z) }""",
            opset=11, w1=(12, 8), b=(8,), w2=(8, 5),
        ),
        {"x": (1, 12), "y": (1, 5)},
    ),
    "an image by itself": (
        parse(f"(float[3,6,6] i) => (float[4,6,6] y) {{ x = Unsqueeze(i, zero) {CHAIN} y = Squeeze(k, zero) }}",
              **CHAIN_WEIGHTS, zero=np.array([0])),
        {"i": (1, 3, 6, 6), "y": (1, 4, 6, 6)},
    ),
    "pixels with their channels last": (
        parse(f"""(float[6,6,3] i) => (float[4,6,6] y) {{ f = Cast<to=1>(i) t = Transpose<perm=[2,0,1]>(f)
              n = Div(t, most) x = Unsqueeze(n, zero) {CHAIN} y = Squeeze(k, zero) }}""",
              **CHAIN_WEIGHTS, zero=np.array([0]), most=np.array(255, np.float32)),
        {"i": (1, 6, 6, 3), "y": (1, 4, 6, 6)},
    ),
    "a grey image": (
        parse(f"(float[6,6] i) => (float[1,4,6,6] y) {{ x = Reshape(i, sizes) {CHAIN} y = Identity(k) }}",
              **{**CHAIN_WEIGHTS, "w0": (4, 1, 3, 3)}, sizes=np.array([1, 1, 6, 6])),
        {"i": (1, 6, 6), "y": (1, 4, 6, 6)},
    ),
    "a number beside images": (
        parse(f"(float[N,3,6,6] x, float s) => (float[N,4,6,6] y) {{ {CHAIN} y = Mul(k, s) }}", **CHAIN_WEIGHTS),
        {"x": (1, 3, 6, 6), "s": (1,), "y": ("N", 4, 6, 6)},
    ),
    "a mean over the batch": (
        parse(f"(float[N,3,6,6] x) => (float y) {{ {CHAIN} y = ReduceMean<keepdims=0>(k) }}", **CHAIN_WEIGHTS),
        {"x": (1, 3, 6, 6), "y": (1,)},
    ),
    "a batch that a Reshape joins": (
        parse(
            f"(float[N,3,6,6] x) => (float[1] y) {{ {CHAIN} f = Reshape(k, joined)"
            " y = ReduceMean<axes=[1,2], keepdims=0>(f) }",
            **CHAIN_WEIGHTS, joined=np.array([1, -1, 36]),
        ),
        {"x": (1, 3, 6, 6), "y": (1,)},
    ),
    "a state of fixed size": (
        parse(f"(float[1,1,8] x, float[2,1,4] state) => (float[1,2,6] y, float[2,1,4] out) {LSTM}", **LSTM_WEIGHTS),
        {"x": (1, 1, 8), "state": (1, 2, 1, 4), "y": (1, 2, 6), "out": (1, 2, 1, 4)},
    ),
    "a state with the batch in the middle": (
        parse(f"(float[N,1,8] x, float[2,N,4] state) => (float[N,2,6] y, float[2,N,4] out) {LSTM}", **LSTM_WEIGHTS),
        {"x": (1, 1, 8), "state": (1, 2, 1, 4), "y": ("N", 2, 6), "out": (1, 2, "N", 4)},
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        f"(float[N,3,6,6] x) => (float[1,4,6,6] k) {{ {CHAIN} }}",  # what the file says is of another batch
        f"(float[N,3,6,6] x) => (float[N,4,6,6] k, int64[3] s) {{ {CHAIN} s = Shape<start=1>(k) }}",
        f"(float[N,3,6,6] x) => (float[N,4,6,6] k, float[4,4,1,1] s) {{ {CHAIN} s = Abs(w2) }}",
        f"(float[N,3,H,6] x) => (float[N,4,H,6] k) {{ {CHAIN} }}",
    ],
)
def test_outputs_that_tell_nothing_of_the_batch_keep_it(text):
    model = parse(text, **CHAIN_WEIGHTS)
    assert measurable(model).model is model


@pytest.mark.parametrize("name", CASES)
def test_one_sample_is_a_run_where_the_batch_does_not_come_first(name):
    model, expected = CASES[name]
    before = model.SerializeToString()
    stand_in = measurable(model)
    assert shapes(stand_in.model) == expected
    onnx.checker.check_model(stand_in.model, full_check=True)
    feeds = {key: signed(key, [1 if isinstance(s, str) else s for s in shapes(model)[key]]) for key in expected
             if key in {v.name for v in model.graph.input}}  # fmt: skip
    longer = {key: value[None] if key in stand_in.inputs else value for key, value in feeds.items()}
    for value, other, output in zip(
        run_plain(stand_in.model, longer), run_plain(model, feeds), model.graph.output, strict=True
    ):
        np.testing.assert_array_equal(value[0] if output.name in stand_in.outputs else value, other)
    assert model.SerializeToString() == before
    assert frozen(stand_in.restored(stand_in.model)) == frozen(model)


@pytest.mark.parametrize(
    "text",
    [
        "(float[N,3,6,6] x) => (float[N,4,6,6] k)",
        "(float[8,3,6,6] x, float scale) => (float[8,4,6,6] k)",
        "(float[1,3,6,6] x, float[1] scale) => (float[1,4,6,6] k)",
        "(float[N,3,6,6] x, float[N,4] scale) => (float[N,4,6,6] k)",
    ],
)
def test_what_can_be_measured_stays_as_it_is(text):
    model = parse(f"{text} {{ {CHAIN} }}", **CHAIN_WEIGHTS)
    assert measurable(model).model is model
    assert measurable(model).restored(model) is model


def test_what_took_up_an_axis_gets_it_from_another_node():
    """An editor may have taken out a Squeeze together with an Unsqueeze of the network."""
    model, _ = CASES["an image by itself"]
    stand_in = measurable(model)
    edited = onnx.ModelProto()
    edited.CopyFrom(stand_in.model)
    pairs = [("i", next(n for n in edited.graph.node if n.op_type == "Unsqueeze" and n.output[0] == "x"))]
    del edited.graph.node[0]
    edited.graph.node.remove(pairs[0][1])
    edited.graph.node[0].input[0] = "i"
    edited.graph.node[-3].output[0] = "y"
    del edited.graph.node[-2:]
    restored = stand_in.restored(edited)
    assert ops(restored) == ["Unsqueeze", "Conv", "Relu", "Conv", "Relu", "Conv", "Squeeze"]
    assert interface(restored) == interface(model)
    feeds = {"i": signed("i", (3, 6, 6))}
    assert_close(run_plain(restored, feeds)[0], run_plain(model, feeds)[0])


WHOLE = {
    "ArgMax": ("int64[N,1,6,6] y", "y = ArgMax<axis=1>(k)", ["k"]),
    "ArgMax of a softmax, cast": (
        "uint8[N,6,6] y",
        "s = Softmax<axis=1>(k) a = ArgMax<axis=1,keepdims=0>(s) y = Cast<to=2>(a)",
        ["s"],
    ),
    "a threshold": ("bool[N,4,6,6] y", "s = Sigmoid(k) y = Greater(s, half)", ["s"]),
    "places": ("int64[4,K] y", "p = Relu(k) y = NonZero(p)", ["p"]),
    "the best": ("int64[N,2] y", "p = GlobalAveragePool(k) f = Flatten(p) v, y = TopK(f, two)", ["f"]),
    "two outputs": ("int64[N,1,6,6] y, int32[N,3,6,6] z", "y = ArgMax<axis=1>(k) z = Cast<to=6>(r)", ["r", "k"]),
    "sizes": ("int64[4] y", "y = Shape(k)", []),
    "numbers beside them": ("int64[N,1,6,6] y, float[N,4,6,6] k", "y = ArgMax<axis=1>(k)", []),
}


@pytest.mark.parametrize("name", WHOLE)
def test_whole_numbers_are_measured_at_what_they_are_made_from(name):
    outputs, end, expected = WHOLE[name]
    weights = {**CHAIN_WEIGHTS, "w0": (3, 3, 3, 3), "w1": (4, 3, 3, 3)} if "r" in expected else CHAIN_WEIGHTS
    model = parse(f"(float[N,3,6,6] x) => ({outputs}) {{ {CHAIN} {end} }}", **weights,
                  half=np.array(0.5, np.float32), two=np.array([2]))  # fmt: skip
    stand_in = measurable(model)
    added = [value.name for value in stand_in.model.graph.output][len(model.graph.output) :]
    assert sorted(added) == sorted(expected)
    assert bool(stand_in.remarks) == bool(expected)
    assert frozen(stand_in.restored(stand_in.model)) == frozen(model)
    assert measurable(model, scores=False).model is model


@pytest.mark.parametrize("name", ["a vector", "an image by itself", "a grey image", "a state of fixed size"])
def test_commands_work_on_models_without_a_batch(tmp_path, name):
    model, expected = CASES[name]
    arrays = {v.name: signed(v.name, (40, *(expected[v.name][1:]))) for v in model.graph.input}
    path, data = save_case(tmp_path, model, **arrays)
    result = onnxshallow.optimize(
        path, calibration=str(data), target_relus=0.6, max_error=1e6, sensitivity="magnitude", cache=None
    )
    result.save(tmp_path / "small.onnx")
    small = onnx.load(tmp_path / "small.onnx")
    assert interface(small) == interface(model)
    assert result.report.optimized.relus <= 0.6 * result.report.original.relus
    assert "one run is one sample" in " ".join(result.report.verdict.remarks)
    onnx.checker.check_model(small, full_check=True)
    outcome = run("validate", path, tmp_path / "small.onnx", "--data", data, *ANY_LOSS)
    assert outcome.exit_code == 0, outcome.stderr
    tidied = onnxshallow.optimize(path, calibration=str(data), cache=None)
    assert interface(tidied.model) == interface(model)


def test_sizes_are_given_as_the_file_has_them(tmp_path):
    text = """(float[L] x) => (float[1,1,M] y) { u = Unsqueeze(x, axes) h = Conv(u, w1) r = Relu(h)
        g = Conv(r, w2) q = Relu(g) y = Conv(q, w3) }"""
    model = parse(text, axes=np.array([0, 1]), w1=(6, 1, 3), w2=(6, 6, 3), w3=(1, 6, 3))
    assert measurable(model).sizes({"x": (100,)}) == {"x": (1, 100)}
    assert measurable(model).sizes({"x": (1, 100)}) == {"x": (1, 100)}
    onnx.save(model, tmp_path / "net.onnx")
    result = onnxshallow.optimize(
        tmp_path / "net.onnx",
        input_shape={"x": (30,)},
        target_relus=0.6,
        calib_samples=40,
        sensitivity="magnitude",
        cache=None,
    )
    assert interface(made(result).model) == interface(model)


def test_a_segmenter_that_ends_in_classes_is_optimized(tmp_path):
    model = parse(f"(float[N,3,6,6] x) => (int64[N,1,6,6] y) {{ {CHAIN} y = ArgMax<axis=1>(k) }}", **CHAIN_WEIGHTS)
    path, data = save_case(tmp_path, model)
    result = onnxshallow.optimize(
        path, calibration=str(data), target_relus=0.6, max_error=1e6, sensitivity="magnitude", cache=None
    )
    assert not isinstance(result.error, TargetError)
    assert [value.name for value in result.model.graph.output] == ["y"]
    assert set(result.report.fidelity.relative_error) == {"k"}
    assert [(each.name, each.kind) for each in result.report.fidelity.outputs] == [("y", "mask"), ("k", "mask")]
    assert any("measured at 'k'" in remark for remark in result.report.verdict.remarks)
    result.save(tmp_path / "small.onnx")
    assert run("validate", path, tmp_path / "small.onnx", "--data", data, *ANY_LOSS).exit_code == 0


@pytest.mark.parametrize("ending", ["y = ArgMax<axis=1>(k)", "y = Cast<to=7>(k)"])
def test_weights_that_are_listed_as_inputs_are_those_of_what_was_made(ending):
    shape = "int64[N,1,6,6]" if "ArgMax" in ending else "int64[N,4,6,6]"
    text = f"(float[N,3,6,6] x) => ({shape} y) {{ {CHAIN} {ending} }}"
    model = parse(text, opset=9, ir=3, as_inputs=True, **CHAIN_WEIGHTS)
    result = onnxshallow.optimize(model, target_relus=0.6, calib_samples=32, cache=None, force=True)
    stored = {tensor.name for tensor in result.model.graph.initializer}
    listed = [value.name for value in result.model.graph.input]
    assert stored - {value.name for value in model.graph.input}
    assert listed[0] == "x"
    assert set(listed[1:]) == stored
    onnx.checker.check_model(result.model, full_check=True)


@pytest.mark.parametrize("name", ["a vector", "an image by itself", "pixels with their channels last"])
def test_what_only_the_stand_in_does_is_nothing_that_goes(name):
    model, _ = CASES[name]
    result = onnxshallow.optimize(model, calib_samples=32, cache=None)
    assert not result.report.lossless
    assert frozen(result.model) == frozen(model)
