"""What is said of a release that depends on where the project lives: its links, and those of the README.

An index shows the README far from the files that it links to. Where the address of the repository is given,

    ONNXSHALLOW_REPOSITORY=https://github.com/OWNER/onnxshallow python -m build

links lead there, to the tag of the version. Else no address is made up: what would be a dead link stays as words.
"""

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

__all__ = ["ReleaseMetadata", "readme_for", "urls_of"]

# An image or a link of Markdown, whose text may hold images; none that is absolute or leads within the page.
_IMAGE = re.compile(r"!\[([^\]]*)\]\((?!https?://|#)([^)]+)\)")
_LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|!\[[^\]]*\]\([^)]*\))*)\]\((?!https?://|#)([^)]+)\)")


class ReleaseMetadata(MetadataHookInterface):
    """Fills in `readme` and `urls`."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add both to the metadata."""
        address = os.environ.get("ONNXSHALLOW_REPOSITORY", "").rstrip("/")
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        page = readme_for(text, address, metadata["version"])
        metadata["readme"] = {"content-type": "text/markdown", "text": page}
        metadata["urls"] = urls_of(address, metadata["version"])


def readme_for(text: str, address: str, version: str) -> str:
    """The README as an index shows it.

    Args:
        text: as it stands beside the files that it links to.
        address: of the repository; "" for none that is known.
        version: whose files are meant.
    """
    if address:
        text = _IMAGE.sub(rf"![\1]({address}/raw/v{version}/\2)", text)
        return _LINK.sub(rf"[\1]({address}/blob/v{version}/\2)", text)
    return _LINK.sub(r"\1", _IMAGE.sub(r"*\1*", text))


def urls_of(address: str, version: str) -> dict[str, str]:
    """Links of the project by title; none where no address is known."""
    if not address:
        return {}
    files = f"{address}/blob/v{version}"
    return {
        "Repository": address,
        "Documentation": f"{files}/docs/index.md",
        "Changelog": f"{files}/CHANGELOG.md",
        "Issues": f"{address}/issues",
    }
