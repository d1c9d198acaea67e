import re
from types import SimpleNamespace

import pytest

from tests.docs.session import ROOT

pytest.importorskip("hatchling", reason="packages are built with the dev extra")

from hatch_build import ReleaseMetadata, readme_for, urls_of

HERE = "https://example.org/onnxshallow"
TEXT = "See [the how](docs/a.md#part) and ![a picture](docs/a.svg), [arXiv](https://arxiv.org) and [above](#top)."


def test_links_lead_to_the_files_of_the_version():
    assert readme_for(TEXT, HERE, "1.2.3") == (
        f"See [the how]({HERE}/blob/v1.2.3/docs/a.md#part) and ![a picture]({HERE}/raw/v1.2.3/docs/a.svg), "
        "[arXiv](https://arxiv.org) and [above](#top)."
    )


def test_without_an_address_none_is_made_up():
    assert readme_for(TEXT, "", "1.2.3") == (
        "See the how and *a picture*, [arXiv](https://arxiv.org) and [above](#top)."
    )
    assert urls_of("", "1.2.3") == {}


@pytest.mark.parametrize("address", ["", HERE])
def test_no_link_of_the_readme_is_dead_on_an_index(address, monkeypatch):
    monkeypatch.setenv("ONNXSHALLOW_REPOSITORY", f"{address}/" if address else "")
    metadata = {"version": "1.2.3"}
    hook = SimpleNamespace(root=str(ROOT))
    ReleaseMetadata.update(hook, metadata)
    targets = re.findall(r"\]\(([^)]*)\)", metadata["readme"]["text"])
    assert targets
    assert all(target.startswith(("https://", "#")) for target in targets)
    assert metadata["urls"] == urls_of(address, "1.2.3")


def test_every_file_that_the_readme_leads_to_is_there():
    """At the address that a release gives, as beside the README."""
    text = readme_for((ROOT / "README.md").read_text(encoding="utf-8"), HERE, "1.2.3")
    paths = re.findall(rf"{HERE}/(?:blob|raw)/v1\.2\.3/([^)#]+)", text)
    assert len(paths) > 20
    assert all((ROOT / path).exists() for path in paths)
