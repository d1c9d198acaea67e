"""A model of more than 2 GiB, which protobuf cannot serialize, from end to end in little memory."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxshallow.model.document import load_document
from onnxshallow.model.session import Session
from onnxshallow.model.weights import byte_size, is_apart, keep_apart, value_of
from tests.graphs import parse, signed
from tests.runs import files, read_json

HIDDEN, FLAT = 33_000, 16_384
LIMIT = 1 << 30

GRAPH = """(float[N,3,32,32] x) => (float[N,10] y) {
    h0 = Conv<pads=[1,1,1,1]>(x, w0)
    r0 = Relu(h0)
    h1 = Conv<pads=[1,1,1,1],strides=[2,2]>(r0, w1)
    r1 = Relu(h1)
    h2 = Conv<pads=[1,1,1,1]>(r1, w2)
    r2 = Relu(h2)
    f = Flatten(r2)
    h3 = Gemm<transB=1>(f, w3, b3)
    r3 = Relu(h3)
    y = Gemm<transB=1>(r3, w4, b4)
}"""

# The command, and a thread that watches how much memory the process holds that no file backs.
WATCHED = """
import threading, time
peak = 0
def watch():
    global peak
    while True:
        with open("/proc/self/status") as status:
            kilobytes = next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))
        peak = max(peak, kilobytes * 1024)
        time.sleep(0.01)
threading.Thread(target=watch, daemon=True).start()
from onnxshallow.cli.main import main
try:
    main()
finally:
    print("peak", peak)
"""


def write_large_model(path: Path) -> None:
    """Write a network whose first linear layer takes 2.1 GB; most of its rows are zero, and take no disk."""
    model = parse(
        GRAPH,
        w0=(8, 3, 3, 3),
        w1=signed("w1", (16, 8, 3, 3)) / 8,
        w2=signed("w2", (64, 16, 3, 3)) / 12,
        b3=(HIDDEN,),
        w4=signed("w4", (10, HIDDEN)) / 180,
        b4=(10,),
    )
    data = path.with_suffix(".bin")
    with data.open("wb") as stream:
        stream.write((signed("w3", (500, FLAT)) / 128).tobytes())
        stream.truncate(4 * HIDDEN * FLAT)
    large = model.graph.initializer.add(name="w3", data_type=onnx.TensorProto.FLOAT, dims=(HIDDEN, FLAT))
    keep_apart(large, Path(data.name), 0)
    path.write_bytes(model.SerializeToString())


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is looked up in /proc")
def test_more_than_two_gigabytes_in_less_than_one(tmp_path):
    path, output = tmp_path / "large.onnx", tmp_path / "large.shallow.onnx"
    write_large_model(path)
    options = ["--target-relus", "0.7", "--calib-samples", "48", "--memory", "512M", "--threads", "2", "--no-cache"]
    process = subprocess.run(
        [sys.executable, "-c", WATCHED, "optimize", str(path), *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert int(process.stdout.split()[-1]) < LIMIT
    report = read_json(output.with_suffix(".json"))
    assert report["optimized"]["relus"] <= 0.7 * report["original"]["relus"]
    assert report["original"]["size_bytes"] > 2**31
    assert len(files(tmp_path)) == 5, "the model and its data, the result and its data, the report"
    original, optimized = load_document(path).model, load_document(output).model
    assert byte_size(optimized) > 2**31
    kernels = [next(t for t in m.graph.initializer if t.name == "w3") for m in (original, optimized)]
    assert all(map(is_apart, kernels))
    for start in range(0, HIDDEN, 1000):
        np.testing.assert_array_equal(*(value_of(kernel)[start : start + 1000] for kernel in kernels))
    (y,) = Session(optimized, threads=2).run({"x": signed("x", (2, 3, 32, 32))})
    assert y.shape == (2, 10)
    assert np.isfinite(y).all()
