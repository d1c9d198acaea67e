import json

import numpy as np

from onnxshallow.private.engine.program import ProgramWriter


def test_only_what_an_output_needs_is_written():
    writer = ProgramWriter()
    w, v = writer.weight(np.ones((2, 2))), writer.weight(np.zeros(3))
    k = writer.known(np.full(2, 0.5))
    y = writer.step("matmul", "x", w)
    writer.step("add", y, v)
    z = writer.step("multiply", y, k, into="z")
    program = writer.written(("x",), ("z",))
    assert z == "z"
    assert [step.op for step in program.steps] == ["matmul", "multiply"]
    assert (list(program.weights), list(program.public)) == ([w], [k])
    assert all(array.dtype == np.float32 for array in program.weights.values())


def test_an_order_is_json():
    writer = ProgramWriter()
    writer.step("scale", "x", into="y", number=0.5)
    order = json.loads(json.dumps(writer.written(("x",), ("y",)).order()))
    assert order["steps"] == [{"op": "scale", "inputs": ["x"], "output": "y", "settings": {"number": 0.5}}]
    assert (order["inputs"], order["outputs"]) == (["x"], ["y"])
