import subprocess
import sys

import pytest

from onnxshallow import __version__
from onnxshallow.cli import main as main_module
from tests.runs import run


def test_what_nobody_foresaw_is_shown_whole_and_said_to_be_a_bug(monkeypatch, capsys):
    def fail():
        raise ZeroDivisionError("by nought")

    monkeypatch.setattr(main_module, "app", fail)
    with pytest.raises(SystemExit) as caught:
        main_module.main()
    assert caught.value.code == 1
    said = capsys.readouterr().err
    assert "ZeroDivisionError: by nought" in said
    assert said.splitlines()[-1].startswith("error: This is a bug in onnxshallow; please report it")


def test_version_and_help():
    assert run("--version").stdout == f"onnxshallow {__version__}\n"
    for command in ("analyze", "sensitivity", "optimize", "pareto", "apply", "validate", "bench", "doctor"):
        assert command in run("--help").stdout
        help_of = run(command, "--help")
        assert help_of.exit_code == 0
        assert "--json" in help_of.stdout
        assert "_" not in "".join(word for word in help_of.stdout.split() if word.startswith("--"))
    assert run("shrink").exit_code == 2


def test_short_forms_do_the_same():
    assert run("-V").stdout == run("--version").stdout
    assert run("-h").stdout == run("--help").stdout
    for command in ("analyze", "optimize", "validate", "doctor"):
        assert run(command, "-h").stdout == run(command, "--help").stdout


@pytest.mark.parametrize("asked", ["'--help'", "'optimize', '--help'", "'--version'"])
def test_help_is_fast_since_nothing_heavy_is_imported(asked):
    code = (
        f"import sys; sys.argv = ['onnxshallow', {asked}]\nfrom onnxshallow.cli.main import main\n"
        "heavy = {'onnx', 'onnxruntime', 'scipy', 'torch', 'numpy', 'PIL', 'rich'}\n"
        "try: main()\nexcept SystemExit: print(heavy & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.endswith("set()\n")


def test_help_imports_no_command_and_a_command_no_other():
    code = (
        "import sys\nfrom onnxshallow.cli import main\n"
        "for words in (['--help'], ['doctor', '--help']):\n"
        "    sys.argv = ['onnxshallow', *words]\n"
        "    try: main.main()\n"
        "    except SystemExit: pass\n"
        "    print([name for name in main._SUMMARIES if f'onnxshallow.cli.{name}' in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "\n[]\n" in shown
    assert shown.endswith("\n['doctor']\n")
