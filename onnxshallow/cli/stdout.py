"""What a command says on stdout, and that it may not arrive: a full disk, a closed pipe."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from onnxshallow.cli.shell import complain
from onnxshallow.errors import ExitCode

__all__ = ["arriving"]

# What the system says where a stream takes no more.
_LOST = frozenset({errno.ENOSPC, errno.EPIPE, errno.EIO, errno.EFBIG, errno.EBADF, errno.EDQUOT})


@contextmanager
def arriving() -> Iterator[None]:
    """End the process in one sentence where what the block prints cannot be written.

    A reader that has closed the pipe, such as `head`, wants no more, which is not worth a word. Files that are opened
    by name say so in their errors; a stream has none, by which its errors are known.

    Raises:
        SystemExit: stdout cannot be written to.
    """
    if sys.stdout is None:  # closed by the caller, who wants to read nothing
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the process ends
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.filename is not None or error.errno not in _LOST:
            raise
        _drop()
        if error.errno != errno.EPIPE:
            complain(f"The output cannot be written: {error.strerror}; send it to another place.")
        sys.exit(int(ExitCode.UNUSABLE_INPUT))


def _drop() -> None:
    """Let what is left go nowhere, as Python would try once more at its end."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
