"""The documentation as a site."""

import re
import subprocess
import sys

import pytest

from tests.docs.session import ROOT

# What a browser fetches by itself, in contrast to a link that a reader may follow.
FETCHED = re.compile(r"""<(?:script|img|iframe)[^>]+src=["']?(https?:)?//|<link[^>]+rel=["']?stylesheet[^>]+//""")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs", reason="the site is built with the docs extra")
    pytest.importorskip("material", reason="the site is built with the docs extra")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_in_the_site(site):
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").with_suffix(".html")
        name = name.with_name("index.html") if name.name == "README.html" else name
        assert (site / name).is_file()


def test_pages_fetch_nothing_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        found = FETCHED.search(page.read_text(encoding="utf-8"))
        assert found is None, f"{page.name}: {found and found.group()}"


def test_every_page_is_found_by_links_alone():
    """On a code host there is no navigation beside the pages."""
    links = re.compile(r"\]\(([^)#:\s]+)")
    found, unread = set(), [ROOT / "README.md"]
    while unread:
        page = unread.pop()
        linked = {(page.parent / link).resolve() for link in links.findall(page.read_text(encoding="utf-8"))}
        unread += [other for other in linked - found if other.suffix == ".md" and other.is_file()]
        found |= linked
    pages = {*(ROOT / "docs").rglob("*.md"), *(ROOT / "docs").rglob("*.ipynb")}
    assert pages <= found
