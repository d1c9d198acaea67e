"""Write docs/reference/schemas/: the JSON Schemas of the options file and of each report.

    python -m tools.schemas

A test compares the files with what `onnxshallow schema NAME` prints: whoever changes an option or a report runs it
again.
"""

import json
from pathlib import Path

from onnxshallow.model.files import write_text
from onnxshallow.report.schema.published import PUBLISHED, json_schema

__all__ = ["FOLDER", "files", "main"]

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference" / "schemas"


def files() -> dict[Path, str]:
    """The content of each file."""
    return {FOLDER / f"{name}.json": json.dumps(json_schema(name), indent=2) + "\n" for name in PUBLISHED}


def main() -> None:
    """Write the files, and remove those of schemas that are no more."""
    FOLDER.mkdir(exist_ok=True)
    wanted = files()
    for path in set(FOLDER.glob("*.json")) - wanted.keys():
        path.unlink()
    for path, text in wanted.items():
        write_text(text, path)


if __name__ == "__main__":
    main()
