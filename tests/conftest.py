"""What every test stands on: an environment that can't leak in, and real servers that start when first asked for."""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from . import streams
from .servers import aws, ceph, chromium, running, templates, tools
from .servers import docker_registry as docker_registry_server
from .servers import ministack as ministack_server
from .servers import nspawn as nspawn_server
from .servers import podman as podman_server
from .servers import prometheus as prometheus_server
from .servers import seaweed as seaweedfs
from .servers import tinyproxy as tinyproxy_server
from .servers.aws import Aws
from .servers.docker_registry import DockerRegistry
from .servers.podman import Podman
from .servers.s3server import S3Server

SERVERS = {
    "rgw": ceph.missing,
    "seaweed": seaweedfs.missing,
    "docker_registry": docker_registry_server.missing,
    "ministack": ministack_server.missing,
    "moto": aws.missing,
    "tinyproxy": tinyproxy_server.missing,
    "prometheus": prometheus_server.missing,
    "podman": podman_server.missing,
    "nspawn": nspawn_server.missing,
    "tools": tools.missing,
    "templates": templates.missing,
    "browser": chromium.missing,
}
_LEAKS = ("AWS_", "DTH_", "BOTO", "XDG_", "RCLONE_")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")

_home = pytest.StashKey[str]()

# A shared machine may pause any test at any point: time is no property of an example.
hypothesis.settings.register_profile("dth", deadline=None)
hypothesis.settings.load_profile("dth")


def pytest_configure(config: pytest.Config) -> None:
    """Nobody's credentials, settings or proxies, and a home of our own."""
    for name in list(os.environ):
        leaks = name.startswith(_LEAKS) and not name.startswith("DTH_TEST_")
        if leaks or name.lower() in _PROXIES:
            del os.environ[name]
    if config.pluginmanager.hasplugin("xdist"):
        config.pluginmanager.register(streams)
    home = tempfile.mkdtemp(prefix="dth-home-")
    os.environ.update(HOME=home, AWS_EC2_METADATA_DISABLED="true")
    config.stash[_home] = home


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[_home], ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever uses a server's fixture carries its marker, so that `-m "not rgw"` means what it says."""
    for item in items:
        for kind in SERVERS:
            if kind in getattr(item, "fixturenames", ()):
                item.add_marker(kind)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A missing server skips its tests, and says so; where servers are required, it fails them."""
    for kind, missing in SERVERS.items():
        if item.get_closest_marker(kind) is None:
            continue
        reason = missing()
        if not reason:
            continue
        if os.environ.get("DTH_TEST_REQUIRE_SERVERS") == "1":
            pytest.fail(f"{reason}; DTH_TEST_REQUIRE_SERVERS=1 asks for it", pytrace=False)
        pytest.skip(reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    for kind, count in Counter(kind for report in skipped for kind in SERVERS if kind in report.keywords).items():
        terminalreporter.write_line(f"{count} tests skipped for want of a server: {kind}", yellow=True)


@pytest.fixture(scope="session")
def rgw() -> Iterator[S3Server]:
    """Ceph RGW with accounts a and b. 17 s once per session, unless DTH_TEST_KEEP=1 finds one running."""
    server, release = running.obtain("rgw", ceph.start)
    yield server
    release()


@pytest.fixture(scope="session")
def seaweed() -> Iterator[S3Server]:
    """SeaweedFS with accounts a and b. 3 to 6 s once per session, unless DTH_TEST_KEEP=1 finds one running."""
    server, release = running.obtain("seaweed", seaweedfs.start)
    yield server
    release()


@pytest.fixture(scope="session")
def ministack() -> Iterator[Aws]:
    """SQS, DynamoDB and more, in a process of their own. 1 s once per session."""
    with aws.started_ministack() as started:
        yield started


@pytest.fixture(scope="session")
def moto() -> Iterator[Aws]:
    """SQS and DynamoDB of another make, on threads of this process."""
    with aws.started_moto() as started:
        yield started


@pytest.fixture(scope="session")
def docker_registry() -> Iterator[DockerRegistry]:
    """Debian's container registry, empty, for the session's images."""
    started = docker_registry_server.start()
    yield started
    started.stop()


@pytest.fixture(scope="session")
def podman(systems: Path) -> Iterator[Podman]:
    """podman with the project's image. One to two minutes once a session; with DTH_TEST_KEEP=1 what was made is used again."""
    started = podman_server.start(systems)
    yield started
    started.remove()


@pytest.fixture(scope="session")
def nspawn(systems: Path) -> Path:
    """The root of a machine that boots systemd. Ten seconds more than what containers need."""
    return nspawn_server.make(systems)


@pytest.fixture(scope="session")
def systems() -> Iterator[Path]:
    """Where roots of systems and images lie; containers and machines come from one root."""
    folder = Path(tempfile.mkdtemp(prefix="dth-systems-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
