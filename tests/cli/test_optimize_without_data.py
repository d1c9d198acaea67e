"""Networks that are optimized without data: whether synthetic samples of other sorts vouch for what was made."""

import numpy as np
import onnx
import pytest

from tests.networks import build
from tests.runs import assert_error, files, read_json, run

# One ReLU sees how far a pixel is from its neighbours, less an offset; without the other one all sorts lose much.
EDGES = """(float[N,1,16,16] x) => (float[N,2,16,16] y) {
    h = Conv<pads=[1,1,1,1]>(x, edge, offset)
    r = Relu(h)
    d = Conv(r, gain)
    s = Conv(x, sides, least)
    k = Relu(s)
    y = Add(d, k)
}"""


def save(folder, offset):
    edge = np.zeros((1, 1, 3, 3), np.float32)
    edge[0, 0] = [[0, -1, 0], [-1, 4, -1], [0, -1, 0]]
    path = folder / "net.onnx"
    gain, sides = np.float32([4, 2]).reshape(2, 1, 1, 1), np.float32([1, -1]).reshape(2, 1, 1, 1)
    least = np.float32([-0.5, -0.5])
    onnx.save(build(EDGES, edge=edge, offset=np.float32([offset]), gain=gain, sides=sides, least=least), path)
    return path


def optimized(path, *arguments):
    options = ("--target-relus", "0.67", "--granularity", "layer", "--calib-samples", "200", "--threads", "1")
    return run("optimize", path, *options, *arguments)


@pytest.fixture
def blind(tmp_path):
    """A network whose ReLU passes hardly anything of dead leaves, and much of noise and of strokes."""
    return save(tmp_path, -4)


def test_sorts_that_agree_let_a_model_pass_that_is_not_validated(tmp_path):
    outcome = optimized(save(tmp_path, 30))
    assert outcome.exit_code == 0, outcome.stderr
    report = read_json(tmp_path / "net.shallow.json")
    assert (report["verdict"]["status"], report["verdict"]["validated"]) == ("met", False)
    sorts = report["fidelity"]["sorts"]
    assert sorts[0]["name"] == "synthetic dead-leaves images"
    assert [sort["samples"] for sort in sorts] == [40, 16, 16, 16, 16]
    assert max(sort["relative_error"]["y"] for sort in sorts) < 1e-5


def test_sorts_that_disagree_refuse_a_model(blind):
    outcome = optimized(blind)
    assert_error(outcome, 4, "Synthetic samples do not vouch", "strokes on a plain ground", "--calib")
    assert set(files(blind.parent)) == {"net.onnx", "net.shallow.json"}
    report = read_json(blind.parent / "net.shallow.json")
    assert (report["verdict"]["status"], report["verdict"]["exit_code"]) == ("accuracy", 4)
    errors = {sort["name"]: sort["relative_error"]["y"] for sort in report["fidelity"]["sorts"]}
    assert errors["synthetic dead-leaves images"] < 0.2
    assert report["fidelity"]["relative_error"]["y"] == max(errors.values()) > 0.6
    assert report["fidelity"]["source"] == f"synthetic {max(errors, key=errors.get)}"


def test_real_samples_decide_where_there_are_some(blind):
    random = np.random.default_rng(0)
    x = random.normal(size=(200, 1, 1, 1)) + 0.1 * random.normal(size=(200, 1, 16, 16))
    np.savez(blind.parent / "flat.npz", x=x.astype(np.float32))
    outcome = optimized(blind, "--validate", blind.parent / "flat.npz")
    assert outcome.exit_code == 0, outcome.stderr
    assert read_json(blind.parent / "net.shallow.json")["fidelity"]["sorts"] == []
