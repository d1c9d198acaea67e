import os
import signal
import threading

import pytest

from onnxshallow.training.interrupt import interruptible


def test_the_first_sigint_is_noted_and_the_second_raised():
    outside = signal.signal(signal.SIGINT, signal.default_int_handler)  # what starts tests may have it ignored
    before = signal.getsignal(signal.SIGINT)
    with interruptible() as interrupt:
        assert not interrupt.asked
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupt.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
    signal.signal(signal.SIGINT, outside)


def test_other_threads_have_no_signals():
    seen = []

    def work():
        with interruptible() as interrupt:
            seen.append(interrupt.asked)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
