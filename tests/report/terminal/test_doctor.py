import pytest

from onnxshallow.report.schema.doctor import CacheReport, DoctorReport, PackageReport
from onnxshallow.report.terminal.doctor import print_doctor

FOUND = DoctorReport(
    version="0.1.0",
    python="3.11.0",
    platform="Linux",
    cores=2,
    memory_bytes=3 << 29,
    packages=[
        PackageReport(name="numpy", version="2.1.0", least="1.26", ok=True),
        PackageReport(name="onnx", version=None, least=None, ok=False),
    ],
    extras={"zoo": ["torch", "scikit-learn"], "docs": []},
    providers=["CPUExecutionProvider"],
    runs=True,
    cache=CacheReport(path="/a\x1b[2J", files=3, size_bytes=3 << 19, writable=True),
    problems=[],
    hints=[],
    exit_code=0,
)


@pytest.fixture
def printed(capsys):
    def show(**changes):
        print_doctor(FOUND.model_copy(update=changes))
        return capsys.readouterr().out

    return show


def line(text, name):
    """The one line that begins with a name."""
    (found,) = [each for each in text.splitlines() if each.strip().startswith(name)]
    return found.split(maxsplit=1)[1]


def test_what_is_installed_is_listed(printed):
    text = printed()
    assert line(text, "numpy").split() == ["2.1.0", "1.26", "ok"]
    assert line(text, "onnx ").split() == ["-", "-", "not", "ok"]
    assert line(text, "onnxshallow:") == "0.1.0, Python 3.11.0, Linux"
    assert line(text, "cores:") == "2 usable"
    assert line(text, "free memory:").split() == ["memory:", "1.5", "GiB"]
    assert line(text, "onnxruntime:") == "runs a model"
    assert line(text, "extra [zoo]:").endswith("lacks torch, scikit-learn")
    assert line(text, "extra [docs]:").endswith("installed")


def test_long_names_do_not_touch_what_follows(printed):
    text = printed(extras={"a-name-of-some-length": []})
    assert line(text, "extra [a-name-of-some-length]:").endswith(" installed")


def test_what_a_terminal_acts_on_is_spelt_out(printed):
    assert line(printed(), "cache:") == r"/a\x1b[2J, 3 sweeps, 1.5 MiB"


def test_what_is_not_known_or_missing_is_said(printed):
    text = printed(memory_bytes=None, providers=[], runs=False)
    assert line(text, "free memory:").endswith("unknown")
    assert line(text, "providers:") == "none"
    assert line(text, "onnxruntime:") == "does not run a model"


def test_all_is_well_where_there_is_no_problem(printed):
    assert printed(hints=["Install torch."]).splitlines()[-2:] == ["Hint: Install torch.", "All is well."]
    text = printed(problems=["numpy is missing."])
    assert "Problem: numpy is missing." in text
    assert "All is well" not in text
