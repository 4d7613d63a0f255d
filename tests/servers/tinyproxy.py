"""Debian's tinyproxy: an HTTP proxy as companies run one, with a password, a list of ports for CONNECT, or neither."""

import shutil
import socket
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .processes import end, free_ports, spawn, wait_until

USER, PASSWORD = "some-user", "pass-word.1"  # tinyproxy knows no odder characters
ENCODED = "some%2Duser:pass%2Dword%2E1"


@dataclass(frozen=True, slots=True)
class Tinyproxy:
    """A running one."""

    port: int
    folder: Path
    pid: int

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        return f"http://{self.host}"

    @property
    def with_login(self) -> str:
        return f"http://{ENCODED}@{self.host}"

    def asked(self) -> list[str]:
        """The first line of every request so far."""
        lines = (self.folder / "log").read_text(errors="replace").splitlines()
        return [line.split("): ", 1)[1] for line in lines if "Request (file descriptor" in line]

    def stop(self) -> None:
        end([self.pid], self.folder)


def missing() -> str:
    """Why it cannot run here; "" if it can."""
    return "" if shutil.which("tinyproxy") else "tinyproxy is not installed (apt: tinyproxy)"


def start(*, login: bool = False, connect_ports: Sequence[int] = ()) -> Tinyproxy:
    """Start one; `connect_ports` are the only ones that it opens tunnels to, where any is given."""
    folder = Path(tempfile.mkdtemp(prefix="dth-tinyproxy-"))
    (port,) = free_ports(1)
    lines = [f"Port {port}", "Listen 127.0.0.1", "MaxClients 500", "Timeout 60", "LogLevel Connect"]
    lines += [f'LogFile "{folder}/log"', "Allow 127.0.0.1"]
    lines += [f"BasicAuth {USER} {PASSWORD}"] if login else []
    lines += [f"ConnectPort {allowed}" for allowed in connect_ports]
    (folder / "tinyproxy.conf").write_text("\n".join(lines) + "\n")
    process = spawn(["tinyproxy", "-d", "-c", str(folder / "tinyproxy.conf")], folder / "output", keep=False)
    process.returncode = 0  # ended by pid, see processes.end: nothing for Popen to warn about
    running = Tinyproxy(port, folder, process.pid)
    try:
        wait_until(lambda: _listens(port), "tinyproxy", 20, folder / "output")
    except BaseException:
        running.stop()
        raise
    return running


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True
