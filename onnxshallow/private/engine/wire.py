"""A wire between parties, with a delay and a rate each way, as a process of its own and without any privileges.

    python wire.py PORT TO DELAY RATE

listens on PORT of loopback and passes all on to port TO: DELAY seconds later, and RATE bits a second, which all
connections share, each way for itself. Imports nothing but Python's own.
"""

import os
import queue
import socket
import sys
import threading
import time

__all__ = ["Lane", "serve"]


class Lane:
    """One direction of a wire.

    Args:
        delay: seconds on the way.
        rate: bits a second.
    """

    def __init__(self, delay: float, rate: float) -> None:
        self.delay, self.rate = delay, rate
        self._free = 0.0
        self._lock = threading.Lock()

    def due(self, size: int, now: float) -> float:
        """When `size` bytes that are sent now have arrived: after all that was sent before."""
        with self._lock:
            self._free = max(self._free, now) + 8 * size / self.rate
            return self._free + self.delay


def serve(listener: socket.socket, to: int, delay: float, rate: float) -> None:
    """Pass every connection on to port `to`, until the process ends."""
    there, back = Lane(delay, rate), Lane(delay, rate)
    while True:
        near, _ = listener.accept()
        far = _connect(to)
        for end in (near, far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _pump(near, far, there)
        _pump(far, near, back)


def _connect(port: int) -> socket.socket:
    """A connection to a port of loopback that may not be open yet."""
    for _ in range(600):
        try:
            return socket.create_connection(("127.0.0.1", port))
        except OSError:
            time.sleep(0.05)
    raise OSError(f"nothing listens on port {port}")


def _pump(source: socket.socket, sink: socket.socket, lane: Lane) -> None:
    """Read from one end and write to the other when it is due, in two threads."""
    waiting: queue.Queue[tuple[float, bytes]] = queue.Queue()

    def read() -> None:
        data = b"-"
        while data:
            try:
                data = source.recv(1 << 16)
            except OSError:
                data = b""
            waiting.put((lane.due(len(data), time.perf_counter()), data))

    def write() -> None:
        while True:
            due, data = waiting.get()
            time.sleep(max(due - time.perf_counter(), 0))
            try:
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
                sink.sendall(data)
            except OSError:
                return

    for work in (read, write):
        threading.Thread(target=work, daemon=True).start()


def _main() -> None:
    port, to, delay, rate = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
    with socket.create_server(("127.0.0.1", port)) as listener:
        threading.Thread(target=serve, args=(listener, to, delay, rate), daemon=True).start()
        parent = os.getppid()
        while os.getppid() == parent:  # ends where the process that started it has gone
            time.sleep(1)


if __name__ == "__main__":
    _main()
