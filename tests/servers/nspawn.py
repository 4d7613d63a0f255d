"""A machine that boots systemd under systemd-nspawn, on the host's network, with no Python: what an instance is to user data."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from . import podman, rootfs
from .processes import alive, wait_until
from .rootfs import run
from .running import STATE

PACKAGES = ("systemd", "systemd-sysv", "dbus", "curl")
USER_DATA = "/var/lib/user-data.sh"
_UNIT = f"""\
[Unit]
Description=What cloud-init does with user data
After=network.target
[Service]
Type=oneshot
ExecStart=/bin/sh {USER_DATA}
StandardOutput=journal+console
[Install]
WantedBy=multi-user.target
"""


def missing() -> str:
    """Why it cannot run here; "" if it can."""
    if not shutil.which("systemd-nspawn"):
        return "systemd-nspawn is not installed (apt: systemd-container)"
    return podman.missing()


def make(folder: Path) -> Path:
    """The root of such a machine, in `folder`; with DTH_TEST_KEEP=1 the one that was made before."""
    keep = os.environ.get("DTH_TEST_KEEP") == "1"
    root = (STATE if keep else folder) / "machine"
    if (root / "made").exists() and keep:
        return root
    shutil.rmtree(root, ignore_errors=True)
    run("cp", "-a", str(rootfs.make(folder)), str(root))
    (root / "made").unlink()
    install = "apt-get -qq update && apt-get -qq -y --no-install-recommends install"
    run(
        "chroot",
        str(root),
        "sh",
        "-c",
        f"DEBIAN_FRONTEND=noninteractive; export DEBIAN_FRONTEND; {install} {' '.join(PACKAGES)}",
    )
    for python in (root / "usr/bin").glob("python3*"):
        python.unlink()
    (root / "etc/systemd/system/user-data.service").write_text(_UNIT)
    run("chroot", str(root), "systemctl", "enable", "-q", "user-data.service")
    (root / "made").touch()
    return root


@dataclass(frozen=True, slots=True)
class Machine:
    """One that runs. What it writes is forgotten at its end."""

    process: subprocess.Popen[bytes]
    leader: int
    console: Path

    @classmethod
    def boot(cls, root: Path, user_data: Path, folder: Path, files: Mapping[Path, str] | None = None) -> "Machine":
        """Start it, with these files at their places in it; returns once process 1 is there."""
        console = folder / "console"
        words = ["systemd-nspawn", "-q", "-D", str(root), "--register=no", "--keep-unit", "--volatile=overlay"]
        words += ["--boot", "--console=pipe", f"--bind-ro={user_data}:{USER_DATA}"]
        words += [f"--bind-ro={file}:{place}" for file, place in (files or {}).items()]
        words += ["systemd.journald.forward_to_console=1"]
        with console.open("wb") as out:
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        wait_until(lambda: bool(_leaders(process.pid)), "the machine's process 1", 60, console)
        return cls(process, _leaders(process.pid)[0], console)

    def __call__(self, *words: str) -> str:
        """What a command in it prints."""
        return run("nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-p", "--", *words)

    def show(self, unit: str, name: str) -> str:
        """A property of a unit, "" while systemd does not answer yet."""
        with contextlib.suppress(AssertionError):
            return self("systemctl", "show", "--value", "-p", name, unit).strip()
        return ""

    def power_off(self) -> None:
        """As a hypervisor asks for it; returns when it is off."""
        os.kill(self.leader, signal.SIGRTMIN + 4)
        self.process.wait(120)

    def end(self) -> None:
        """Cut its power, unless it is off."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.leader, signal.SIGKILL)
            self.process.wait(60)
            wait_until(lambda: not alive(self.leader), "the machine's end", 20)


def _leaders(pid: int) -> list[int]:
    """Children of `pid` that are process 1 of a namespace and run systemd: at first there are others."""
    found = []
    for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        with contextlib.suppress(OSError):
            inner = Path(f"/proc/{child}/status").read_text().partition("NSpid:")[2].split("\n")[0].split()
            if inner[-1:] == ["1"] and Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                found.append(child)
    return found
