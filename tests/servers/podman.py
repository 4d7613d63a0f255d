"""podman with runc, storage of its own, and the project's image, built without a network on a base of our own."""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import rootfs
from .rootfs import run
from .running import STATE

BASE, IMAGE = "localhost/dth-base", "localhost/dth"
_CONFIGURATION = """\
[containers]
default_ulimits = ["nofile=1000:1000","nproc=1000:1000"]
netns = "host"
[engine]
runtime = "{runc}"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
_CONTEXT = (
    "Dockerfile",
    ".dockerignore",
    "dth",
    "locks",
    "deploy/ec2/systemd",
    "pyproject.toml",
    "README.md",
    "LICENSE",
)


def missing() -> str:
    """Why it cannot run here; "" if it can."""
    for program in ("podman", "runc", "unshare"):
        if not shutil.which(program):
            return f"{program} is not installed (apt: podman runc util-linux)"
    return rootfs.missing() or ("" if source() else "no source of dth is at hand (DTH_TEST_SOURCE)")


def source() -> Path | None:
    """The checkout that images are built from: the tests' own, unless `DTH_TEST_SOURCE` names it."""
    place = Path(os.environ.get("DTH_TEST_SOURCE") or Path(__file__).parents[2])
    return place if (place / "Dockerfile").exists() and (place / "dth").exists() else None


@dataclass(frozen=True, slots=True)
class Podman:
    """One with storage in `folder`."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> "Podman":
        """An empty one."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "containers.conf").write_text(_CONFIGURATION.format(runc=shutil.which("runc")))
        return cls(folder)

    @property
    def env(self) -> dict[str, str]:
        """The environment of its commands."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
        }

    def words(self, *words: str) -> list[str]:
        """A command line."""
        return ["podman", "--root", str(self.folder / "root"), "--runroot", str(self.folder / "run"), *words]

    def __call__(self, *words: str) -> str:
        """What a command prints."""
        return run(*self.words(*words), env=self.env)

    def popen(self, *words: str) -> subprocess.Popen[str]:
        """A command that goes on."""
        return subprocess.Popen(
            self.words(*words), env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def import_base(self, root: Path) -> None:
        """Make `root` an image."""
        target = self.folder / "base.tar"
        rootfs.archive(root, target)
        self("import", "-q", str(target), BASE)
        target.unlink()

    def build(self, context: Path) -> None:
        """The project's image, in a namespace that has no network."""
        words = ("build", "-q", "--layers", "--isolation=chroot", "--network=host", "--build-arg", f"BASE={BASE}")
        run("unshare", "-n", *self.words(*words, "-t", IMAGE, str(context)), env=self.env)

    def remove(self) -> None:
        """All containers, images and the folder."""
        with contextlib.suppress(AssertionError):
            self("rm", "-af", "-t", "0")
        if os.environ.get("DTH_TEST_KEEP") == "1":
            return
        with contextlib.suppress(AssertionError):
            self("rmi", "-af")
        for mount in ("root/overlay", "root"):
            subprocess.run(["umount", "-q", str(self.folder / mount)], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def wheelhouse(folder: Path, python: str) -> Path:
    """All wheels that the image needs, for that Python on this processor: what `make wheels` does."""
    place = source()
    assert place
    for name in ("dth", "build"):
        words = ["--only-binary", ":all:", "--python-version", python, "--require-hashes", "-q", "-q"]
        lock = str(place / "locks" / f"{name}.txt")
        run(sys.executable, "-m", "pip", "download", *words, "-r", lock, "-d", str(folder))
    return folder


def start(folder: Path) -> Podman:
    """One that has the project's image. Half a minute, and as much again where the base has to be made first."""
    keep = os.environ.get("DTH_TEST_KEEP") == "1"
    root = rootfs.make(folder)
    podman = Podman.make((STATE if keep else folder) / "podman")
    if BASE not in podman("images", "--format", "{{.Repository}}").split():
        podman.import_base(root)
    context, place = folder / "context", source()
    assert place
    for name in _CONTEXT:
        found = place / name
        ignore = shutil.ignore_patterns("__pycache__")
        if found.is_dir():
            shutil.copytree(found, context / name, ignore=ignore)
        else:
            context.mkdir(exist_ok=True)
            shutil.copy(found, context / name)
    locked = hashlib.sha256(b"".join((place / f"locks/{name}.txt").read_bytes() for name in ("dth", "build")))
    kept = STATE / f"wheels-{locked.hexdigest()[:8]}"
    if not (keep and kept.exists()):
        wheelhouse(kept if keep else context / "wheels", rootfs.python_version(root))
    if keep:
        shutil.copytree(kept, context / "wheels")
    podman.build(context)
    shutil.rmtree(context)
    return podman


def options(environment: Mapping[str, str], mounts: Mapping[Path, str], *more: str) -> Sequence[str]:
    """What `podman run` is told to hold a container as tightly as a careful cluster would: nothing to write to but /tmp and
    what is mounted, no capability, none to be had."""
    words = ["--read-only", "--tmpfs", "/tmp", "--cap-drop=all", "--security-opt=no-new-privileges", *more]
    for name, value in environment.items():
        words += ["-e", f"{name}={value}"]
    for place, target in mounts.items():
        words += ["-v", f"{place}:{target}"]
    return words
