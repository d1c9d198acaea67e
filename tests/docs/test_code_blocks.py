"""Every code block of the README and of the documentation is run, or checked where it is no program.

The rules, for whoever writes a page:

- `console`: lines that begin with `$ ` are run by bash and must end with 0; what follows is compared with the output
  (`...` is anything, and so are digits after a decimal point);
- `bash`, `sh`: run as a whole;
- `python`: run, all blocks of a page in one namespace;
- a block with `title="NAME"` becomes that file in the page's folder;
- `yaml`, `toml`, `json`: parsed; of a GitHub workflow the `run` steps are run;
- `<!-- not run: REASON -->` on the line before a block: only for what needs the network, foreign data, or would run
  the tests from within the tests.

`pip install` and `pytest` are replaced by commands that check their arguments, see `session.py`.
"""

import shlex
import shutil
import subprocess

import pytest
import typer
import yaml

from onnxshallow.cli.main import app
from tests.docs.blocks import blocks_of
from tests.docs.session import ROOT, Page

PAGES = [
    ROOT / name
    for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "models/README.md", "benchmarks/README.md")
]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
COMMAND = "onnxshallow optimize models/digits-resnet.onnx --target-relus 0.58"
COMMANDS = typer.main.get_command(app).commands
REASONS = ("needs the network", "needs data", "runs the tests", "takes")


@pytest.fixture(scope="session")
def memory(tmp_path_factory):
    """Where `onnxshallow optimize` is remembered."""
    return tmp_path_factory.mktemp("remembered")


@pytest.fixture(scope="session")
def clone(tmp_path_factory, memory):
    """What a reader has in front of them: the project's small files, and what the README's first command wrote."""
    folder = tmp_path_factory.mktemp("clone")
    (folder / "models").mkdir()
    for path in (*ROOT.glob("models/digits-*"), ROOT / "models" / "onnxshallow.toml"):
        if ".shallow." not in path.name:
            shutil.copy(path, folder / "models")
    for name in ("tools", "benchmarks", "docs"):
        (folder / name).symlink_to(ROOT / name)
    for name in ("pyproject.toml", "README.md", "mkdocs.yml"):
        shutil.copy(ROOT / name, folder)
    empty = folder / "empty"
    empty.mkdir()
    first = Page(folder, empty, memory)
    empty.rmdir()
    first.shell(COMMAND)
    return folder


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_code_blocks_of_a_page_run(path, clone, memory, tmp_path):
    blocks = [block for block in blocks_of(path) if block.reason is None]
    if not blocks:
        return
    page = Page(tmp_path, clone, memory)
    try:
        for block in blocks:
            page.run(block)
    finally:
        page.close()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_block_names_its_language_and_what_is_not_run_a_reason(path):
    for block in blocks_of(path):
        assert block.language, f"{path}:{block.line}: a block without a language"
        assert block.reason is None or block.reason.startswith(REASONS), f"{path}:{block.line}: {block.reason}"


def not_run():
    """Every block that has a reason not to be run, with its page."""
    return [(path, block) for path in PAGES for block in blocks_of(path) if block.reason is not None]


def test_few_blocks_are_not_run():
    assert len(not_run()) <= 48


def test_blocks_that_are_not_run_are_programs_and_name_what_there_is():
    flags = {name: {flag for option in command.params for flag in option.opts} for name, command in COMMANDS.items()}
    for path, block in not_run():
        where = f"{path}:{block.line}"
        if block.language == "python":
            compile(block.text, where, "exec")
            continue
        if block.language == "yaml":
            yaml.safe_load(block.text)
            continue
        assert subprocess.run(["bash", "-n", "-c", block.text]).returncode == 0, where
        for line in block.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            for script in (word for word in words if word.endswith(".py") and "=" not in word):
                assert (ROOT / script).is_file(), f"{where}: {script}"
            if "onnxshallow" in words:
                name, *rest = [*words[words.index("onnxshallow") + 1 :], ""]
                unknown = {word for word in rest if word.startswith("--")} - flags.get(name, set())
                assert name not in COMMANDS or not unknown, f"{where}: {unknown}"


def test_the_readme_shows_the_two_commands():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"pip install '.[cpu]' && {COMMAND}\n" in text
    assert "pip install '.[test]' && pytest\n" in text
