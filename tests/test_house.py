"""The rules of the house that no linter knows: every module has its tests, and no file is long."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE, TESTS = ROOT / "onnxshallow", ROOT / "tests"
MOST_LINES = 400


def has_tests(module: Path) -> bool:
    """Whether tests/ has a file of the same place and name, or several that add a topic to the name."""
    folder, name = TESTS / module.relative_to(PACKAGE).parent, f"test_{module.stem}"
    return (folder / f"{name}.py").is_file() or any(folder.glob(f"{name}_*.py"))


def test_every_module_has_tests_of_its_own():
    modules = [path for path in PACKAGE.rglob("*.py") if path.stem not in {"__init__", "__main__"}]
    assert modules
    assert [str(path.relative_to(ROOT)) for path in modules if not has_tests(path)] == []


@pytest.mark.parametrize("folder", ["onnxshallow", "tests", "tools", "benchmarks"])
def test_no_file_is_long(folder):
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / folder).rglob("*.py")}
    assert lengths
    assert {str(path.relative_to(ROOT)): lines for path, lines in lengths.items() if lines > MOST_LINES} == {}


def test_the_algebra_of_kernels_needs_numpy_alone():
    """A linter can forbid libraries by name only; here every other is forbidden."""
    modules = list((PACKAGE / "convolution").rglob("*.py"))
    assert modules
    for path in modules:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                own = name == "onnxshallow.convolution" or name.startswith("onnxshallow.convolution.")
                assert own or name.split(".")[0] in {"numpy", *sys.stdlib_module_names}, (path.name, name)
