import ast
import re
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import get_args

import pytest

import onnxshallow
from onnxshallow.actions import registry
from onnxshallow.actions.base import Candidate, FindOptions
from onnxshallow.actions.linearize import Linearize
from onnxshallow.analysis import analyze
from onnxshallow.errors import ExitCode, UsageError
from onnxshallow.options.forms import Kind
from tests.networks import chain

PACKAGE = Path(onnxshallow.__file__).parent


class Sharpen(Linearize):
    name = "sharpen"


class Blur(Linearize):
    name = "blur"


class Taken(Linearize):
    pass


class Reserved(Linearize):
    name = "keep"


class Colon(Linearize):
    name = "a:b"


class Needy(Linearize):
    def __init__(self, what):
        self.what = what


@pytest.fixture
def installed(monkeypatch):
    """Lets entry points stand for installed packages."""

    def install(*values):
        points = [EntryPoint(value.rpartition(":")[2], value, "onnxshallow.actions") for value in values]
        monkeypatch.setattr(registry, "entry_points", lambda group: points if group == "onnxshallow.actions" else [])
        registry.actions.cache_clear()

    yield install
    registry.actions.cache_clear()


def test_splits_come_before_mergers_and_these_before_single_sites():
    names = ["decompose", "fuse", "linearize", "mask", "pool", "prune", "quadratic"]
    assert [action.name for action in registry.BUILT_IN] == names


def test_others_come_after_them_in_the_order_of_their_names(installed):
    installed(f"{__name__}:Sharpen", f"{__name__}:Blur")
    assert [action.name for action in registry.actions()[-3:]] == ["quadratic", "blur", "sharpen"]


def test_they_are_loaded_once(installed):
    installed(f"{__name__}:Sharpen")
    assert registry.actions() is registry.actions()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("no_such_module:Action", "cannot be loaded (ModuleNotFoundError: No module named 'no_such_module')"),
        (f"{__name__}:Missing", "cannot be loaded (AttributeError: "),
        (f"{__name__}:Needy", "cannot be loaded (TypeError: "),
        ("onnxshallow.actions.base:Action", "cannot be loaded (TypeError: "),
        ("builtins:dict", "is no action with a name and a candidate_class"),
        (f"{__name__}:Colon", "is no action with a name and a candidate_class"),
        (f"{__name__}:Taken", "'linearize' of an unknown package has a name that is taken"),
        (f"{__name__}:Reserved", "'keep' of an unknown package has a name that is taken"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(installed, value, words):
    installed(value)
    with pytest.raises(UsageError) as caught:
        registry.actions()
    text = str(caught.value)
    assert words in text
    assert text.endswith("; update the package, or uninstall it.")
    assert "\n" not in text
    assert caught.value.exit_code == ExitCode.USAGE


def test_the_removal_of_a_site_is_the_candidate_that_is_found():
    analysis = analyze(chain())
    found = {c.key: c for action in registry.BUILT_IN for c in action.find(analysis, FindOptions()).candidates}
    for site in analysis.sites:
        removal = registry.removal(site)
        assert found[removal.key] == removal
        assert removal.kind == Candidate.kind == "removal"


# No room but actions/ names an action.

NAMES = {action.name: type(action).__module__ for action in registry.BUILT_IN}
NAMED = re.compile(rf"({'|'.join(NAMES)})(:.*)?")
# An output may be a mask as well, so that of this action a name alone does not tell.
OUTPUT_KINDS = get_args(Kind)


def others():
    """The package's files outside actions/, with their syntax trees."""
    files = [path for path in PACKAGE.rglob("*.py") if not path.is_relative_to(PACKAGE / "actions")]
    assert len(files) > 100
    return [(path, ast.parse(path.read_text(encoding="utf-8"))) for path in files]


def mentions(tree):
    """Strings that are an action's name or begin like a key of its candidates, and modules of actions, by line."""
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and NAMED.fullmatch(text) and text not in OUTPUT_KINDS:
            yield node.lineno, text
        modules = [node.module] if isinstance(node, ast.ImportFrom) else []
        modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        yield from ((node.lineno, name) for name in modules if name in NAMES.values())


def test_no_other_room_names_an_action():
    found = [
        f"{path.relative_to(PACKAGE)}:{line}: {what}" for path, tree in others() for line, what in mentions(tree)
    ]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        'x = "fuse"',
        'k.startswith("fuse:")',
        'k.startswith("mask:")',
        "from onnxshallow.actions.mask import Mask",
        "import onnxshallow.actions.fuse",
    ],
)
def test_what_names_an_action_is_noticed(text):
    assert len(list(mentions(ast.parse(text)))) == 1


def test_words_that_only_begin_alike_are_none():
    assert list(mentions(ast.parse('"fused", "mask_form", "linearized", "the mask"'))) == []


def test_a_kind_of_output_is_none():
    assert list(mentions(ast.parse('output.kind == "mask"'))) == []
