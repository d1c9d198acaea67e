"""What pipelines that nobody watches rely on: kills, full disks, read-only folders, several runs at once."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from onnxshallow.model.files import file_digest
from tests.networks import Weight, build, residual, smooth
from tests.runs import files, read_json, save_case
from tests.short_runs import MAIN, PATH

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX")

OUTPUT, REPORT = "net.shallow.onnx", "net.shallow.json"
OPTIONS = ("--target-relus", "0.4", "--granularity", "layer", "--threads", "1")
# Measures, and then waits to be ended.
WAITING = f"import time; from onnxshallow.search import run; run.search = lambda *_: time.sleep(1200); {MAIN}"


@pytest.fixture
def folder(tmp_path):
    """A folder with a network and data; a run keeps its cache beside it."""
    return make_folder(tmp_path)


def make_folder(base: Path) -> Path:
    (base / "work").mkdir()
    save_case(base / "work", residual(), x=smooth(200, 3, 8))
    return base / "work"


def start(folder: Path, *options: str, code: str = MAIN) -> subprocess.Popen[str]:
    """Begin a run on the folder's network."""
    return subprocess.Popen(
        [sys.executable, "-c", code, "optimize", "net.onnx", "--calib", "data.npz", *OPTIONS, *options],
        cwd=folder,
        env={**os.environ, **PATH, "ONNXSHALLOW_CACHE": str(folder.parent / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: subprocess.Popen[str]) -> str:
    """Wait for a run that must end well; what it wrote to stderr."""
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return errors


def digests(folder: Path) -> Mapping[str, str]:
    return {path.name: file_digest(path) for path in folder.iterdir()}


def assert_one_sentence(errors: str, *words: str) -> None:
    """Fail unless stderr ends with one error that holds `words`, and no traceback."""
    told = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert len(told) == 1, errors
    assert "Traceback" not in errors
    for word in words:
        assert word in told[0]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Digests of what a run leaves that nothing disturbs, and how many lines its cache has."""
    base = tmp_path_factory.mktemp("undisturbed")
    folder = make_folder(base)
    finished(start(folder))
    return digests(folder)[OUTPUT], cached_lines(base / "cache")


def cached_lines(folder: Path) -> int:
    return sum(len(path.read_text().splitlines()) for path in folder.glob("*.jsonl"))


@pytest.mark.slow
def test_kills_damage_nothing_and_the_next_run_goes_on(folder, undisturbed):
    """The moments spread over the run: during the imports, the sweep, the search and the end."""
    before = digests(folder)
    kinds = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
    for number in range(6):
        process = start(folder)
        time.sleep(0.4 + 0.3 * number)
        process.send_signal(kinds[number % 3])
        _, errors = process.communicate()
        assert process.returncode != 3, errors
        left = digests(folder)
        assert {name: left[name] for name in before} == before
        assert set(left) - set(before) <= {OUTPUT, REPORT}, "a temporary file outlives a kill at these moments"
        assert OUTPUT not in left or left[OUTPUT] == undisturbed[0]
    progress = cached_lines(folder.parent / "cache")
    assert progress > 0, "nothing that was measured was kept"
    finished(start(folder))
    assert digests(folder)[OUTPUT] == undisturbed[0]
    assert cached_lines(folder.parent / "cache") == undisturbed[1]


@pytest.mark.parametrize(("number", "when"), [(0, "before"), (0, "after"), (1, "before")])
def test_a_kill_while_results_are_written(folder, undisturbed, number, when):
    """SIGKILL just before or after the rename that makes the model, or the report, appear."""
    code = f"""
import os, signal
replace, calls = os.replace, []
def killed(*names):
    calls.append(names)
    if len(calls) == {number + 1} and {when == "before"}:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(*names)
    if len(calls) == {number + 1}:
        os.kill(os.getpid(), signal.SIGKILL)
os.replace = killed
{MAIN}"""
    before = digests(folder)
    process = start(folder, code=code)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    left = digests(folder)
    assert {name: left[name] for name in before} == before
    assert left.get(OUTPUT) in (None, undisturbed[0])
    finished(start(folder))
    assert files(folder) == {*before, OUTPUT, REPORT}
    assert digests(folder)[OUTPUT] == undisturbed[0]
    assert read_json(folder / REPORT)["output"]["sha256"] == undisturbed[0]


def test_sigterm_is_answered_with_its_code(folder):
    process = start(folder, code=WAITING)
    while not list(folder.parent.glob("cache/*.jsonl")):
        time.sleep(0.05)
        assert process.poll() is None, "the run ended before it was told to"
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    assert errors.splitlines()[-1] == "terminated"
    assert "Traceback" not in errors


def test_a_full_disk(folder):
    """Files that may not grow beyond 2 kB stand for a disk without space."""
    code = f"""
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, resource.RLIM_INFINITY))
{MAIN}"""
    before = digests(folder)
    (folder / OUTPUT).write_text("earlier")
    process = start(folder, code=code)
    _, errors = process.communicate()
    assert process.returncode == 3, errors
    assert_one_sentence(errors, OUTPUT)
    assert digests(folder) == before


def test_a_folder_that_cannot_be_written_to(folder):
    """Found out before the work begins, as root too: nobody can make a file in /proc."""
    if not Path("/proc/self").is_dir():
        pytest.skip("there is no /proc here")
    process = start(folder, "-o", "/proc/a.onnx")
    _, errors = process.communicate()
    assert process.returncode == 3, errors
    assert_one_sentence(errors, "/proc/a.onnx", "choose a folder that can be written to")
    assert not list(folder.parent.glob("cache/*"))


def test_a_cache_that_cannot_be_written_to_costs_the_cache_only(folder, undisturbed):
    (folder.parent / "cache").write_text("in the way")
    assert "going on without it" in finished(start(folder))
    assert digests(folder)[OUTPUT] == undisturbed[0]


def test_runs_at_once_do_not_disturb_each_other(folder, undisturbed):
    """Two write the same files, a third others; they share a cache."""
    runs = [start(folder), start(folder), start(folder, "-o", "other.onnx")]
    for process in runs:
        finished(process)
    after = digests(folder)
    assert after[OUTPUT] == after["other.onnx"] == undisturbed[0]
    assert set(after) == {"net.onnx", "data.npz", OUTPUT, REPORT, "other.onnx", "other.json"}
    assert read_json(folder / REPORT)["output"]["sha256"] == undisturbed[0]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="memory is looked up in /proc")
def test_the_memory_budget_is_kept(tmp_path):
    """A network that makes activations of several times what is allowed; the process stays within a quarter of it."""
    path, data = save_case(tmp_path, build(WIDE, **WIDE_WEIGHTS), x=smooth(320, 3, 64))
    options = ["--target-relus", "0.5", "--calib", str(data), "--calib-samples", "320", "--threads", "1"]
    options += ["--sensitivity", "magnitude", "--memory", "600M", "--no-cache", "--log-level", "info"]
    process = subprocess.run(
        [sys.executable, "-c", MEASURED, "optimize", str(path), *options],
        env={**os.environ, **PATH, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert "spilling activations to disk" in process.stderr
    assert int(process.stdout.split()[-1]) * 1024 < 1.25 * 600 * 2**20


# What the system says of a child that has ended counts its parent's memory too, so the process tells its own.
MEASURED = f"""
try:
    {MAIN.replace("; ", chr(10) + "    ")}
finally:
    with open("/proc/self/status") as status:
        print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""

# 320 samples of 64 channels of 64 x 64 take 336 MB; two networks with two such tensors each are alive at a time.
WIDE = """(float[N,3,64,64] x) => (float[N,10] y) {
    h0 = Conv<pads=[1,1,1,1]>(x, w0)
    r0 = Relu(h0)
    h1 = Conv<pads=[1,1,1,1]>(r0, w1)
    r1 = Relu(h1)
    h2 = Conv<pads=[1,1,1,1]>(r1, w2)
    s2 = Add(h2, r0)
    r2 = Relu(s2)
    p = GlobalAveragePool(r2)
    f = Flatten(p)
    y = Gemm<transB=1>(f, w3)
}"""
WIDE_WEIGHTS: dict[str, Weight] = {"w0": (64, 3, 3, 3), "w1": (64, 64, 3, 3), "w2": (64, 64, 3, 3), "w3": (10, 64)}
