"""Stands for `pip install`: the extras must exist; --target gets a link to the package."""

import re
import sys
import tomllib
from pathlib import Path

root = Path(__file__).resolve().parents[3]
extras = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
command, *words = sys.argv[1:]
if command != "install":
    sys.exit(f"pip {command}: only install is known here")
for word in words:
    for name in (part for group in re.findall(r"\[(.*)\]", word) for part in group.split(",")):
        if word.startswith(".") and name not in extras:
            sys.exit(f"there is no extra {name!r}")
if "--target" in words:
    target = Path(words[words.index("--target") + 1])
    target.mkdir(parents=True, exist_ok=True)
    if not (target / "onnxshallow").exists():
        (target / "onnxshallow").symlink_to(root / "onnxshallow")
