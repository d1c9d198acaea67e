"""The code blocks of a Markdown page, in order."""

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Block", "blocks_of", "commands_of"]

_FENCE = re.compile(r"(?P<indent> *)(?P<ticks>`{3,}|~{3,})(?P<info>.*)")
_MARKER = re.compile(r"\s*<!-- not run: (?P<reason>.*\S) *-->")
_TITLE = re.compile(r'title="(?P<title>[^"]+)"')


@dataclass(frozen=True)
class Block:
    """One block of code.

    Attributes:
        line: the first line, counted from one.
        language: the word after the fence; empty where there is none, and for an indented block.
        title: the file that it is shown as, or None.
        text: what is inside.
        reason: why it is not run, or None.
    """

    line: int
    language: str
    title: str | None
    text: str
    reason: str | None


def blocks_of(path: Path) -> list[Block]:
    """Every fenced or indented block of a page.

    Raises:
        ValueError: a fence that is not closed, or a marker that no block follows.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    found: list[Block] = []
    reason, position = None, 0
    while position < len(lines):
        line = lines[position]
        if fence := _FENCE.fullmatch(line):
            end = _closing(lines, position, fence["ticks"], path)
            inside = [text.removeprefix(fence["indent"]) for text in lines[position + 1 : end]]
            title = _TITLE.search(fence["info"])
            language = (fence["info"].split() or [""])[0]
            found.append(Block(position + 1, language, title and title["title"], "\n".join(inside) + "\n", reason))
            reason, position = None, end + 1
            continue
        if _is_indented_code(lines, position):
            found.append(Block(position + 1, "", None, line, reason))
            reason = None
        marker = _MARKER.fullmatch(line)
        if reason is not None and line.strip():
            raise ValueError(f"{path}:{position + 1}: a block must follow the marker")
        reason = marker["reason"] if marker else reason
        position += 1
    return found


def _closing(lines: list[str], start: int, ticks: str, path: Path) -> int:
    for position in range(start + 1, len(lines)):
        if lines[position].strip() == ticks:
            return position
    raise ValueError(f"{path}:{start + 1}: the fence is not closed")


def _is_indented_code(lines: list[str], position: int) -> bool:
    """Four spaces after an empty line, outside of a list."""
    if not lines[position].startswith("    ") or position == 0 or lines[position - 1].strip():
        return False
    before = next((text for text in reversed(lines[:position]) if text.strip()), "")
    return not re.match(r"\s*([-*+]|\d+\.) |\s{2,}", before)


def commands_of(block: Block) -> list[tuple[str, list[str]]]:
    """The commands of a `console` block, each with the lines of output that are shown.

    Raises:
        ValueError: the block does not begin with a command.
    """
    commands: list[tuple[str, list[str]]] = []
    continues = False
    for line in block.text.splitlines():
        if continues:
            commands[-1] = (commands[-1][0] + "\n" + line, [])
        elif line.startswith("$ "):
            commands.append((line[2:], []))
        elif commands:
            commands[-1][1].append(line)
        else:
            raise ValueError(f"line {block.line}: a console block begins with '$ '")
        continues = (continues or line.startswith("$ ")) and line.endswith("\\")
    return commands
