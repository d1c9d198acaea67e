import gc
import mmap
import os
import resource
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from onnxshallow.errors import DataError
from onnxshallow.runtime.store import (
    ActivationStore,
    default_memory,
    memory_in_use,
    most_memory_held,
    return_freed_memory,
    spill_folder,
)
from tests.networks import signed


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def is_spilled(array: np.ndarray) -> bool:
    """Whether an array's memory is a file's."""
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    return isinstance(base, memoryview) and isinstance(base.obj, mmap.mmap)


def test_an_array_within_the_budget_is_kept_as_it_is():
    store = ActivationStore(1000)
    array = signed((10, 10))
    assert store.hold(array) is array
    assert store.used == 400
    assert store.spilled == 0


def test_the_budget_is_respected(folder):
    store = ActivationStore(1000)
    kept = [store.hold(signed((10, 10), seed)) for seed in range(5)]
    assert store.used == 800
    assert store.spilled == 1200
    assert [is_spilled(array) for array in kept] == [False, False, True, True, True]


def test_memory_that_is_let_go_can_be_used_again():
    store = ActivationStore(400)
    array = store.hold(signed((10, 10)))
    del array
    gc.collect()
    assert store.used == 0
    assert not is_spilled(store.hold(signed((10, 10))))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64, np.bool_])
def test_spilled_arrays_hold_the_same_values(folder, dtype):
    array = (signed((3, 4, 5)) * 3).astype(dtype)
    spilled = ActivationStore(0).hold(array)
    assert is_spilled(spilled)
    assert spilled.dtype == array.dtype
    np.testing.assert_array_equal(spilled, array)


def test_a_spilled_scalar_keeps_its_shape(folder):
    spilled = ActivationStore(0).hold(np.array(2.5, dtype=np.float32))
    assert spilled.shape == ()
    assert spilled == 2.5


def test_an_empty_array_is_not_spilled():
    assert ActivationStore(0).hold(np.zeros((0, 3))).shape == (0, 3)


def test_a_spilled_array_cannot_be_written_to(folder):
    spilled = ActivationStore(0).hold(signed((4, 4)))
    with pytest.raises(ValueError, match="read-only"):
        spilled[0, 0] = 1


def test_no_file_is_left_behind_while_arrays_are_in_use_or_after(folder: Path):
    store = ActivationStore(0)
    kept = [store.hold(signed((20, 20), seed)) for seed in range(3)]
    assert list(folder.iterdir()) == []
    np.testing.assert_array_equal(kept[1], signed((20, 20), 1))
    del kept
    gc.collect()
    assert list(folder.iterdir()) == []


def test_spilling_is_announced_once(folder, caplog):
    caplog.set_level("INFO", logger="onnxshallow")
    store = ActivationStore(0)
    for seed in range(3):
        store.hold(signed((4, 4), seed))
    assert len([r for r in caplog.records if "spilling" in r.message]) == 1


def test_a_full_disk_is_said_in_a_sentence(folder, monkeypatch):
    """A file that may not grow stands for a disk that is full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    store = ActivationStore(0)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(DataError, match=r"cannot take them: .*TMPDIR .*--memory.*--calib-samples"):
            store.hold(signed((100, 100)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(folder.iterdir()) == []


def test_what_was_read_back_takes_no_memory_for_long(folder):
    store = ActivationStore(0)
    kept = [store.hold(signed((1000, 1000), seed)) for seed in range(20)]
    sums = [float(array.sum()) for array in kept]
    before = resident()
    store.rest()
    assert before - resident() > 60 << 20
    assert [float(array.sum()) for array in kept] == sums


def resident() -> int:
    """Bytes of this process in memory."""
    with open("/proc/self/statm", encoding="ascii") as stream:
        return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_files_go_where_the_user_says_or_where_no_memory_is_taken(monkeypatch):
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.delenv(name, raising=False)
    assert spill_folder() == "/var/tmp"
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert spill_folder() == tempfile.gettempdir()


def test_where_there_is_no_var_tmp_files_go_where_the_system_says(monkeypatch):
    """As on Windows, which names TEMP."""
    for name in ("TMPDIR", "TMP"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TEMP", "/their/temp")
    monkeypatch.setattr(tempfile, "gettempdir", lambda: "/their/temp")
    assert spill_folder() == "/their/temp"


def test_memory_in_use_grows_with_what_is_held():
    before = memory_in_use()
    with mmap.mmap(-1, 64 << 20) as held:  # from the system, where malloc may give what was freed before
        held.write(bytes(len(held)))
        assert memory_in_use() - before > 0.9 * len(held)


def test_half_of_the_free_memory_is_the_default(monkeypatch):
    assert 1 << 20 < default_memory() < 1 << 50
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=6 << 30))
    assert default_memory() == 3 << 30


def test_returning_freed_memory_is_no_matter_where_the_allocator_is_another(monkeypatch):
    return_freed_memory()

    def refuse(*_: object) -> None:
        raise OSError

    monkeypatch.setattr("ctypes.CDLL", refuse)
    return_freed_memory()


def test_the_most_that_was_held_is_no_less_than_what_is_held():
    held = memory_in_use()
    most = most_memory_held()
    assert most is None or most >= held // 2
