"""TCP ports on the loopback interface."""

from __future__ import annotations

import os
import random
import socket
import tempfile
import time
from pathlib import Path

HOST = "127.0.0.1"
CLAIM_S = 60.0


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: closed connections linger a minute
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def answers(port: int) -> bool:
    """Whether something accepts connections there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def free() -> int:
    """A free port that no other caller on this machine gets within the next minute.

    It lies below the range from which the system takes ports for outgoing connections.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        if is_free(port) and _claim(port):
            return port


def _claim(port: int) -> bool:
    """Whether the port is ours: tests start many stacks side by side, and a chosen port is bound only seconds later."""
    folder = Path(tempfile.gettempdir()) / f"evpower-ports-{os.geteuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    mark = folder / str(port)
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        if time.time() - mark.stat().st_mtime < CLAIM_S:
            return False
        mark.touch()
    return True
