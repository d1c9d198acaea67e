"""Runs onnxshallow; an `optimize` that was run before, on the same files, is answered from memory.

Runs are short, as in the tests' own process.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path


def _digest(arguments: list[str]) -> str:
    """Of the arguments and of all that the command could read."""
    state = hashlib.sha256(json.dumps(arguments).encode())
    for path in sorted(path for name in ("*.toml", "*.py", "*.npz", "models/*") for path in Path().glob(name)):
        if path.is_file() and ".shallow." not in path.name:
            state.update(str(path).encode() + path.read_bytes())
    return state.hexdigest()


def _files() -> dict[Path, int]:
    found = (path for path in Path().rglob("*") if path.is_file() and not path.is_symlink())
    return {path: path.stat().st_mtime_ns for path in found}


def main() -> int:
    """Run or remember."""
    arguments = sys.argv[1:]
    command = [sys.executable, "-m", "tests.short_runs", *arguments]
    if arguments[:1] != ["optimize"]:
        return subprocess.run(command).returncode
    kept = Path(os.environ["ONNXSHALLOW_SHIM_MEMORY"]) / _digest(arguments)
    if not kept.is_dir():
        before = _files()
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        made = [path for path, time in _files().items() if before.get(path) != time]
        for path in made:
            target = kept / "files" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
        kept.mkdir(parents=True, exist_ok=True)
        (kept / "outcome.json").write_text(json.dumps([done.returncode, done.stdout]), encoding="utf-8")
    else:
        shutil.copytree(kept / "files", Path(), dirs_exist_ok=True)
    code, output = json.loads((kept / "outcome.json").read_text(encoding="utf-8"))
    sys.stdout.write(output)
    return code


if __name__ == "__main__":
    sys.exit(main())
