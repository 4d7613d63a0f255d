"""What lies between clients and the store: nothing, a round trip, or two network namespaces that lose packets.

This kernel may lack netem. So a relay of our own (`delay.c`) holds bytes back, and `iptables` drops packets at random.
"""

import contextlib
import ctypes
import itertools
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench import build

T = TypeVar("T")
_CLONE_NEWNET = 0x40000000
_OURS = "dthbench"
SOURCE_HOST, DEST_HOST, _CLIENT_HOST = "10.203.77.1", "10.203.77.2", "10.203.77.9"
_turn = itertools.count()


@dataclass(frozen=True, slots=True)
class Network:
    """`round_trip` in milliseconds; `loss` is the share of packets, each way, that never arrive."""

    round_trip: int = 0
    loss: float = 0.0


@contextlib.contextmanager
def relay(port: int, round_trip: int) -> Iterator[int]:
    """A port of 127.0.0.1 that leads to `port`, `round_trip` milliseconds away."""
    command = [str(build.delay()), "-t", str(port), "-d", str(round_trip)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline().split()[1])
        finally:
            process.kill()


@dataclass(frozen=True, slots=True)
class Link:
    """Two network namespaces, joined by a pair of devices. The store's has two addresses: the source's and the
    destination's."""

    store: str
    client: str

    def inside(self, name: str) -> list[str]:
        """The words that run a command in this namespace."""
        return ["ip", "netns", "exec", name]

    def visit(self, name: str, question: Callable[[], T]) -> T:
        """Its answer, from a thread of this process that is in the namespace."""

        def go() -> T:
            with Path(f"/run/netns/{name}").open("rb") as space:
                if ctypes.CDLL(None, use_errno=True).setns(space.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), f"setns: {os.strerror(ctypes.get_errno())}")
            return question()

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(go).result()


def lacks_loss() -> str:
    """Why packets cannot be lost here; "" where they can."""
    if os.geteuid():
        return "needs root: it makes network namespaces"
    for program in ("ip", "iptables"):
        if not shutil.which(program):
            return f"needs the command {program} (apt packages iproute2, iptables)"
    try:
        with lossy(0.5):
            return ""
    except subprocess.CalledProcessError as failed:
        said = failed.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        return f"network namespaces do not work here: {said[-1]}"


@contextlib.contextmanager
def lossy(share: float) -> Iterator[Link]:
    """Two namespaces whose packets are lost at random, this share each way. They and their devices go with the block.

    Packets are of wire size (no segmentation offload), else one loss would take up to 64 KiB with it.
    """
    _sweep()
    name = f"{_OURS}{os.getpid()}-{next(_turn)}"
    link = Link(f"{name}s", f"{name}c")
    ends = {link.store: (SOURCE_HOST, DEST_HOST), link.client: (_CLIENT_HOST,)}
    made = []
    try:
        for space in ends:
            _do("ip", "netns", "add", space)
            made.append(space)
        devices = ("ip", "-n", link.store, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0")
        _do(*devices, "netns", link.client)
        for space, addresses in ends.items():
            for address in addresses:
                _do("ip", "-n", space, "address", "add", f"{address}/24", "dev", "eth0")
            _do("ip", "-n", space, "link", "set", "eth0", "gso_max_segs", "1", "up")
            _do("ip", "-n", space, "link", "set", "lo", "up")
            chance = ("-m", "statistic", "--mode", "random", "--probability", f"{share:.6f}")
            _do(*link.inside(space), "iptables", "-A", "INPUT", "-i", "eth0", *chance, "-j", "DROP")
        yield link
    finally:
        for space in made:
            subprocess.run(["ip", "netns", "delete", space], check=False, capture_output=True)


def _sweep() -> None:
    """Remove namespaces of a bench that was killed."""
    for space in Path("/run/netns").glob(f"{_OURS}*"):
        pid = space.name.removeprefix(_OURS).partition("-")[0]
        if not Path(f"/proc/{pid}").exists():
            subprocess.run(["ip", "netns", "delete", space.name], check=False, capture_output=True)


def _do(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)
