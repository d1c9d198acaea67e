import json
import logging
import os
from pathlib import Path

import pytest

from onnxshallow.search.sensitivity import cache as module
from onnxshallow.search.sensitivity.cache import SweepCache, cache_files

IDENTITY = {"model": "abc", "seed": 0}


def only_file(folder):
    (path,) = folder.iterdir()
    return path


def test_values_are_found_by_the_next_run(tmp_path):
    SweepCache(IDENTITY, tmp_path)["a"] = 0.125
    later = SweepCache(IDENTITY, tmp_path)
    assert "a" in later
    assert later["a"] == 0.125
    assert "b" not in later


def test_another_identity_has_values_of_its_own(tmp_path):
    SweepCache(IDENTITY, tmp_path)["a"] = 0.125
    assert "a" not in SweepCache({**IDENTITY, "seed": 1}, tmp_path)


def test_the_order_of_the_identity_does_not_matter(tmp_path):
    SweepCache(IDENTITY, tmp_path)["a"] = 0.125
    assert "a" in SweepCache(dict(reversed(IDENTITY.items())), tmp_path)


def test_each_value_is_written_at_once(tmp_path):
    cache = SweepCache(IDENTITY, tmp_path)
    cache["a"] = 1.0
    cache["b"] = 2.0
    lines = only_file(tmp_path).read_text().splitlines()
    assert [json.loads(line) for line in lines] == [["a", 1.0], ["b", 2.0]]


def test_the_folder_is_made(tmp_path):
    SweepCache(IDENTITY, tmp_path / "deep" / "er")["a"] = 1.0
    assert "a" in SweepCache(IDENTITY, tmp_path / "deep" / "er")


def test_without_a_folder_values_live_in_memory():
    cache = SweepCache(IDENTITY, None)
    cache["a"] = 1.0
    assert cache["a"] == 1.0


def truncated(folder):
    cache = SweepCache(IDENTITY, folder)
    cache["a"] = 1.0
    cache["b"] = 2.0
    path = only_file(folder)
    path.write_bytes(path.read_bytes()[:-5])


def test_a_truncated_last_line_costs_that_value_only(tmp_path):
    truncated(tmp_path)
    cache = SweepCache(IDENTITY, tmp_path)
    assert cache["a"] == 1.0
    assert "b" not in cache


def test_values_added_after_a_truncated_line_are_found(tmp_path):
    truncated(tmp_path)
    cache = SweepCache(IDENTITY, tmp_path)
    cache["c"] = 3.0
    cache["d"] = 4.0
    later = SweepCache(IDENTITY, tmp_path)
    assert (later["a"], later["c"], later["d"]) == (1.0, 3.0, 4.0)


@pytest.mark.parametrize("line", [b"5", b'{"a": 1}', b'["a"]', b'["a", "high"]', b"\xff\xfe", b"null"])
def test_a_line_that_makes_no_sense_is_skipped(tmp_path, line):
    SweepCache(IDENTITY, tmp_path)["good"] = 1.0
    with only_file(tmp_path).open("ab") as stream:
        stream.write(line + b"\n")
    cache = SweepCache(IDENTITY, tmp_path)
    assert cache["good"] == 1.0
    assert "a" not in cache


def test_a_folder_that_cannot_be_written_to_only_warns(tmp_path, caplog):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    cache = SweepCache(IDENTITY, blocked)
    with caplog.at_level(logging.WARNING):
        cache["a"] = 1.0
        cache["b"] = 2.0
    assert (cache["a"], cache["b"]) == (1.0, 2.0)
    assert len(caplog.records) == 1
    assert "going on without it" in caplog.text


def test_what_other_code_measured_is_never_used(tmp_path, monkeypatch):
    """A version may stay while its code changes, and that of another release is other code too."""
    SweepCache(IDENTITY, tmp_path)["a"] = 0.125
    monkeypatch.setattr(module, "code_digest", lambda: "of other code")
    assert "a" not in SweepCache(IDENTITY, tmp_path)
    monkeypatch.undo()
    assert "a" in SweepCache(IDENTITY, tmp_path)


def aged(folder, age):
    """A file of measurements that was used so many seconds ago."""
    before = set(cache_files(folder))
    SweepCache({"age": age}, folder)["a"] = 1.0
    (path,) = set(cache_files(folder)) - before
    os.utime(path, (path.stat().st_mtime - age,) * 2)
    return path


def test_what_was_not_used_for_longest_goes_first(tmp_path, monkeypatch):
    oldest, middle, newest = (aged(tmp_path, age) for age in (300, 200, 100))
    (tmp_path / "of another.txt").write_text("not ours")
    monkeypatch.setattr(module, "MOST_BYTES", 2 * newest.stat().st_size)
    assert "a" in SweepCache({"age": 200}, tmp_path)  # which makes it the newest
    assert (oldest.exists(), middle.exists(), newest.exists()) == (False, True, True)
    assert (tmp_path / "of another.txt").exists()


def test_the_file_that_is_used_stays_however_large(tmp_path, monkeypatch):
    other, own = aged(tmp_path, 100), aged(tmp_path, 300)
    monkeypatch.setattr(module, "MOST_BYTES", 0)
    assert "a" in SweepCache({"age": 300}, tmp_path)
    assert (own.exists(), other.exists()) == (True, False)


def test_a_file_that_cannot_be_removed_stays(tmp_path, monkeypatch):
    """As on Windows, where another run has it open."""
    other = aged(tmp_path, 100)
    monkeypatch.setattr(module, "MOST_BYTES", 0)

    def refused(path, missing_ok=False):
        raise PermissionError(13, "in use")

    monkeypatch.setattr(Path, "unlink", refused)
    SweepCache(IDENTITY, tmp_path)["a"] = 1.0
    assert other.exists()
