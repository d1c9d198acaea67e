import socket
import threading

import pytest

from onnxshallow.private.engine.wire import Lane, serve


def test_what_is_sent_arrives_after_all_before_it():
    lane = Lane(delay=0.5, rate=8000)
    assert lane.due(1000, now=10.0) == pytest.approx(11.5)
    assert lane.due(500, now=10.2) == pytest.approx(12.0)  # waits until the wire is free at 11.0
    assert lane.due(0, now=20.0) == pytest.approx(20.5)


def test_a_wire_passes_on_both_ways():
    with socket.create_server(("127.0.0.1", 0)) as behind, socket.create_server(("127.0.0.1", 0)) as before:
        to = behind.getsockname()[1]
        threading.Thread(target=serve, args=(before, to, 0.0, 1e9), daemon=True).start()
        with socket.create_connection(before.getsockname()) as near:
            far, _ = behind.accept()
            with far:
                near.settimeout(60)
                far.settimeout(60)
                near.sendall(b"there")
                assert far.recv(5, socket.MSG_WAITALL) == b"there"
                far.sendall(b"back")
                assert near.recv(4, socket.MSG_WAITALL) == b"back"
                near.shutdown(socket.SHUT_WR)
                assert far.recv(1) == b""
