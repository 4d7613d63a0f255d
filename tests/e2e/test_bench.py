"""The bench itself: its relay delays and loses nothing, and what ends it keeps what was measured."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bench import network

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")


def echo(listener: socket.socket) -> None:
    """Answers each connection with what it sends, until it sends no more."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            while some := connection.recv(1 << 16):
                connection.sendall(some)


def test_the_relay_delays_a_round_trip_and_passes_every_byte() -> None:
    sent = os.urandom(3 << 20)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=echo, args=(listener,), daemon=True).start()
        with network.relay(listener.getsockname()[1], 80) as port, socket.create_connection(("127.0.0.1", port)) as one:
            one.settimeout(60)
            began = time.monotonic()
            one.sendall(b"x")
            assert one.recv(1) == b"x"
            assert time.monotonic() - began >= 0.16  # a handshake's round trip and the bytes'
            sender = threading.Thread(target=one.sendall, args=(sent,))
            sender.start()
            got = bytearray()
            while len(got) < len(sent):
                got += one.recv(1 << 16)
            sender.join()
        listener.shutdown(socket.SHUT_RDWR)
    assert got == sent


@pytest.mark.slow
def test_whoever_ends_a_bench_still_sees_what_was_measured() -> None:
    options = ["--only", "startup-one", "--tools", "dth", "--objects", "1", "--rounds", "1000", "--anyway"]
    command = [sys.executable, "-m", "bench.all", *options, "--python", "this"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as bench:
        assert bench.stdout is not None
        said = ""
        while "round 2" not in said:
            line = bench.stdout.readline()
            assert line, said
            said += line
        bench.send_signal(signal.SIGTERM)
        said += bench.communicate(timeout=60)[0]
    assert bench.returncode == 0, said
    assert "interrupted" in said
    assert re.search(r"\*dth, defaults +[\d,.]+ m?s/start", said), said


def test_a_word_that_names_no_workload_is_told_what_there_is() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.all", "--only", "smal"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert re.search("no workload is called 'smal'; there are: .*small, ", done.stderr)
