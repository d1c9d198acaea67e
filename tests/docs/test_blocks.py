import pytest

from tests.docs.blocks import blocks_of, commands_of
from tests.docs.session import Page, matches


def read(tmp_path, text):
    (tmp_path / "page.md").write_text(text, encoding="utf-8")
    return blocks_of(tmp_path / "page.md")


def test_a_fenced_block_has_a_language_a_title_and_a_line(tmp_path):
    (block,) = read(tmp_path, 'Text.\n\n```toml title="a.toml"\nb = 1\n```\n')
    assert (block.language, block.title, block.text, block.line) == ("toml", "a.toml", "b = 1\n", 3)


def test_an_indented_block_has_no_language(tmp_path):
    (block,) = read(tmp_path, "Text.\n\n    command\n")
    assert block.language == ""


def test_what_is_indented_in_a_list_is_no_block(tmp_path):
    assert read(tmp_path, "- point\n\n    more of it\n") == []


def test_a_marker_counts_for_the_next_block_only(tmp_path):
    text = "<!-- not run: needs the network -->\n```bash\na\n```\n\n```bash\nb\n```\n"
    assert [block.reason for block in read(tmp_path, text)] == ["needs the network", None]


def test_a_marker_without_a_block_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="must follow the marker"):
        read(tmp_path, "<!-- not run: needs the network -->\n\nText.\n")


def test_an_open_fence_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="not closed"):
        read(tmp_path, "```bash\na\n")


def test_commands_with_their_output(tmp_path):
    (block,) = read(tmp_path, "```console\n$ a \\\n  b\nout\n$ c\n```\n")
    assert commands_of(block) == [("a \\\n  b", ["out"]), ("c", [])]


@pytest.mark.parametrize(
    ("expected", "output", "same"),
    [
        (["a  b"], "a b\n", True),
        (["12 kept, 3.5 ms"], "12 kept, 0.25 ms", True),
        (["12 kept, 3.5 ms"], "13 kept, 3.5 ms", False),
        (["...", "end"], "much\nmore\nend", True),
        (["...", "end"], "much\nmore", False),
        ([], "anything", True),
        (["a.b"], "axb", False),
    ],
)
def test_what_counts_as_the_same_output(expected, output, same):
    assert matches(expected, output) is same


@pytest.mark.parametrize(
    "text",
    [
        "```bash\nfalse\ntrue\n```\n",
        "```console\n$ echo a\nb\n```\n",
        "```console\n$ false\n```\n",
        "```python\nassert False\n```\n",
        "```toml\na =\n```\n",
        "```json\n{\n```\n",
        "```unheard-of\na\n```\n",
        "```yaml\njobs: {one: {steps: [{run: 'false'}]}}\n```\n",
        '```python title="a.py"\ndef\n```\n',
        "```bash\npip install '.[unheard-of]'\n```\n",
        "```bash\npytest --unheard-of\n```\n",
        "```bash\nonnxshallow optimize nothing.onnx --target-relus 0.5\n```\n",
    ],
)
def test_a_block_that_is_wrong_fails(tmp_path, text):
    (tmp_path / "empty").mkdir()
    page = Page(tmp_path / "page", tmp_path / "empty", tmp_path / "memory")
    (block,) = read(tmp_path, text)
    try:
        with pytest.raises((AssertionError, ValueError, SyntaxError)):
            page.run(block)
    finally:
        page.close()


def test_python_blocks_of_a_page_share_their_names(tmp_path):
    (tmp_path / "empty").mkdir()
    page = Page(tmp_path / "page", tmp_path / "empty", tmp_path / "memory")
    try:
        for block in read(tmp_path, "```python\na = 1\n```\n\n```python\nassert a == 1\n```\n"):
            page.run(block)
    finally:
        page.close()
