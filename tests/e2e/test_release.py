"""What is released: the same bytes each time, a list of what is in it, and one file that moves a bucket on a bare Python."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import podman as podman_server
from tests.servers import tools
from tests.servers.podman import BASE, Podman, options
from tests.servers.s3server import S3Server

from .corpus import corpus, fill, inventory
from .harness import between
from .test_container import Contained

pytestmark = [pytest.mark.slow]
ROOT = podman_server.source() or Path(__file__).parents[2]


def source_tree(target: Path) -> Path:
    """A copy of what a release is made from."""
    names = ("dth", "tests", "docs", "bench", "deploy", "release", "locks")
    for name in names:
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Dockerfile", ".dockerignore", "Makefile", "README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml"):
        shutil.copy(ROOT / name, target / name)
    return target


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_wheel_and_source_archive_built_twice_are_equal(tmp_path: Path) -> None:
    found = []
    for number, mask in enumerate((0o022, 0o077)):
        tree = source_tree(tmp_path / f"a{number}" / ("x" * number))
        for path in tree.rglob("*"):
            os.utime(path, (1_700_000_000 + number * 86_400,) * 2)
            path.chmod(path.stat().st_mode & ~mask)
        out = tmp_path / f"out{number}"
        words = [sys.executable, "-m", "hatchling", "build", "-d", str(out)]
        subprocess.run(words, cwd=tree, check=True, capture_output=True, umask=mask, timeout=120)
        found.append(digests(out))
    assert found[0] == found[1]
    assert len(found[0]) == 2


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `release/build.sh` makes."""
    tree, out = source_tree(tmp_path_factory.mktemp("release") / "tree"), tmp_path_factory.mktemp("dist")
    env = {**os.environ, "PYTHON": sys.executable, "TOOLS": str(tools.folder())}
    words = ["sh", "release/build.sh", str(out)]
    done = subprocess.run(words, cwd=tree, env=env, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return out


@pytest.mark.tools
def test_the_bill_of_materials_names_every_locked_package(released: Path) -> None:
    (path,) = released.glob("*.cdx.json")
    bill = json.loads(path.read_text())
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == "dth"
    assert path.name == f"dth-{bill['metadata']['component']['version']}.cdx.json"
    locked = re.findall(r"^([a-z0-9.-]+)==(\S+)", (ROOT / "locks/dth.txt").read_text(), re.MULTILINE)
    assert {(one["name"], one["version"]) for one in bill["components"]} == set(locked)
    subprocess.run(["sha256sum", "-c", "--status", "SHA256SUMS"], cwd=released, check=True)


@pytest.mark.tools
def test_one_file_moves_a_bucket_on_a_bare_python(
    released: Path, podman: Podman, rgw: S3Server, tmp_path: Path
) -> None:
    (file,) = released.glob("*.pyz")
    print(f"{file.name}: {file.stat().st_size / 1e6:.0f} MB")  # noqa: T201
    source, destination = rgw.make_bucket("a"), rgw.make_bucket("b")
    fill(rgw.client("a"), source, corpus(100))
    plain = between(tmp_path, rgw, rgw)
    environment = {"AWS_SHARED_CREDENTIALS_FILE": "/credentials", "PEX_ROOT": "/tmp/pex", "HOME": "/tmp"}
    mounts = {file: "/dth:ro", tmp_path / "credentials": "/credentials:ro"}
    bare = podman.words("run", "--rm", *options(environment, mounts, "--user=1000"), "--entrypoint", "/dth", BASE)
    flags = [*plain.flags[: plain.flags.index("--state")], "--json"]
    assert (
        Contained(podman.env, flags, tuple(bare))("sync", f"s3://{source}", f"s3://{destination}").summary["failed"]
        == 0
    )
    assert inventory(rgw.client("b"), destination) == inventory(rgw.client("a"), source)


def load_audit() -> object:
    spec = importlib.util.spec_from_file_location("audit", ROOT / "release/audit.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("dependencies", "code", "words"),
    [
        ([{"name": "a", "version": "1", "vulns": []}], 0, "1 packages audited"),
        ([{"name": "a", "version": "1", "vulns": [{"id": "CVE-1"}]}], 1, "a 1: CVE-1"),
        ([{"name": "a", "skip_reason": "not found"}], 0, "not audited.*1 of 1"),
        ([{"name": "a", "skip_reason": "x"}, {"name": "b", "version": "1", "vulns": [{"id": "CVE-2"}]}], 1, "CVE-2"),
        ([], 0, "not audited"),
    ],
)
def test_an_audit_that_was_none_is_called_so(
    dependencies: list[object], code: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = load_audit()
    found, text = audit.judge(dependencies)  # type: ignore[attr-defined]
    assert found == code
    assert re.search(words, text, re.DOTALL)
    monkeypatch.setenv("DTH_REQUIRE_AUDIT", "1")
    assert audit.judge([])[0] == 1  # type: ignore[attr-defined]
