"""A small Debian (or Ubuntu) of this machine's own release, made by debootstrap from the mirror that this machine's apt uses.

Made once a session (30 to 60 s), or once and for all with DTH_TEST_KEEP=1. Containers build on it; with systemd added it boots.
"""

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

from .running import STATE

PACKAGES = "python3,python3-venv,ca-certificates"
UNWANTED = ("var/cache/apt", "var/lib/apt/lists/*", "usr/share/doc", "usr/share/man", "usr/share/locale", "var/log/*")


def missing() -> str:
    """Why it cannot be made here; "" if it can."""
    if os.geteuid() != 0:
        return "only root can run debootstrap"
    return "" if shutil.which("debootstrap") else "debootstrap is not installed (apt: debootstrap)"


def mirror() -> tuple[str, str]:
    """(address, release) of the archive that apt installs this machine's own release from."""
    release = platform.freedesktop_os_release()["VERSION_CODENAME"]
    words = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"]
    for line in run(*words).splitlines():
        address, found, component = line.split()
        if (found, component) == (release, "main"):
            return address, release
    raise LookupError(f"apt has no source of {release}/main")


def make(folder: Path) -> Path:
    """The root of a system with Python, in `folder`; with DTH_TEST_KEEP=1 the one that was made before."""
    keep = os.environ.get("DTH_TEST_KEEP") == "1"
    root = (STATE if keep else folder) / "rootfs"
    if (root / "made").exists():
        return root
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    address, release = mirror()
    run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", release, str(root), address)
    (root / "made").touch()
    return root


def python_version(root: Path) -> str:
    """`3.11`, say."""
    return run("chroot", str(root), "python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()


def archive(root: Path, target: Path) -> None:
    """A tar file of it, without what no container needs."""
    run("tar", "-C", str(root), *(f"--exclude=./{name}" for name in UNWANTED), "-cf", str(target), ".")


def run(*words: str, seconds: float = 300, env: dict[str, str] | None = None) -> str:
    """What a command prints; AssertionError with its complaint where it fails."""
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=seconds, env=env)
    complaint = re.sub(r"://\S+", "://...", done.stderr[-3000:])
    assert done.returncode == 0, f"{' '.join(words[:6])}: {done.returncode}\n{complaint}"
    return done.stdout
