"""The image of the Dockerfile does the whole job, held as tightly as a careful cluster holds it: read-only, not root."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dth.embedded import is_dead_here
from tests.servers import docker_registry as registries
from tests.servers.aws import Aws
from tests.servers.docker_registry import PASSWORD, USER, DockerRegistry
from tests.servers.podman import IMAGE, Podman, options
from tests.servers.s3server import S3Server

from .corpus import corpus, fill, inventory
from .harness import Dth, between
from .test_fleet import move_to_dead_letters

pytestmark = [pytest.mark.slow, pytest.mark.podman]
USER_ID = 65532


@dataclass(frozen=True, slots=True)
class Contained(Dth):
    """`dth` in a container; `env` is podman's."""

    before: tuple[str, ...] = ()

    def argv(self, *arguments: str) -> list[str]:
        """The whole command line."""
        return [*self.before, *arguments, *self.flags]


def contained(podman: Podman, folder: Path, plain: Dth, *flags: str, **environment: str) -> Contained:
    """The command in a container of its own each time; state, credentials and logins come from `folder`."""
    state = folder / "home"
    state.mkdir(mode=0o700, exist_ok=True)
    os.chown(state, USER_ID, USER_ID)
    mounts = {state: "/var/lib/dth", folder / "credentials": "/aws/credentials:ro"}
    held = options({"AWS_SHARED_CREDENTIALS_FILE": "/aws/credentials", **environment}, mounts)
    before = podman.words("run", "--rm", *held, IMAGE)
    return Contained(podman.env, [*plain.flags[: plain.flags.index("--state")], "--json", *flags], tuple(before))


def test_sync_and_verify_run_as_nobody_in_particular_on_a_root_that_is_read_only(
    podman: Podman, rgw: S3Server, tmp_path: Path
) -> None:
    source, destination = rgw.make_bucket("a"), rgw.make_bucket("b")
    fill(rgw.client("a"), source, corpus(200))
    dth = contained(podman, tmp_path, between(tmp_path, rgw, rgw))
    where = (f"s3://{source}", f"s3://{destination}")
    done = dth("sync", *where).summary
    assert done["found"] == done["done"] > 0
    assert inventory(rgw.client("b"), destination) == inventory(rgw.client("a"), source)
    assert dth("sync", *where).summary["found"] == 0
    dth("verify", *where)
    assert {path.stat().st_uid for path in (tmp_path / "home").rglob("*")} == {USER_ID}


def test_the_image_holds_the_command_and_no_settings(podman: Podman) -> None:
    (image,) = json.loads(podman("inspect", IMAGE))
    config = image["Config"]
    assert config["Entrypoint"] == ["dth"]
    assert config["User"] == f"{USER_ID}:{USER_ID}"
    assert not [name for name in config.get("Env") or () if not name.startswith("PATH=")]
    assert not config.get("Cmd")
    (base,) = json.loads(podman("inspect", "localhost/dth-base"))
    added = image["Size"] - base["Size"]
    print(f"image: {image['Size'] / 1e6:.0f} MB, of which dth and its packages {added / 1e6:.0f} MB")  # noqa: T201
    assert added < 150e6


def test_a_fleet_of_containers_moves_what_one_of_them_found(
    podman: Podman, ministack: Aws, rgw: S3Server, tmp_path: Path
) -> None:
    source, destination = rgw.make_bucket("a"), rgw.make_bucket("b")
    for number in range(120):
        rgw.client("a").put_object(Bucket=source, Key=f"k{number:03}", Body=b"x" * number)
    name = f"dth-{uuid.uuid4().hex[:8]}"
    aws = ministack.environment()
    plain = between(tmp_path, rgw, rgw)
    dth = contained(podman, tmp_path, plain, **aws)
    bare = Contained(dth.env, ["--json"], dth.before)
    made = bare("init", name, "--receive-limit", "3").events[-1]
    place = ("--queue", made["queue"], "--table", name, "--src-bucket", source, "--dest-bucket", destination)
    assert dth("find", *place, "--pack-objects", "5").summary["found"] == 120
    move_to_dead_letters(ministack, made, receives=1)
    words = [*place, "--processes", "1", "--health-file", "/tmp/alive", *dth.flags]
    home = f"{tmp_path / 'home'}:/var/lib/dth"
    assert home in dth.before
    workers = [f"{name}-{letter}" for letter in "ab"]
    for worker in workers:
        podman("run", "-d", "--name", worker, *dth.before[dth.before.index("--read-only") :], "work", *words)
    counted = dth("complete-multipart", *place)
    assert sum(event["event"] == "ObjectFailed" for event in counted.events) == 5
    look = ("status", *place, "--wait")
    assert dth(*look, expect=None).events[-2]["done"] == 115
    probe = ["sh", "-c", liveness_probe()]
    podman("exec", workers[0], *probe)
    podman("exec", workers[0], "touch", "-d", "1 hour ago", "/tmp/old")
    with pytest.raises(AssertionError):
        podman("exec", workers[0], *probe[:2], probe[2].replace("/tmp/alive", "/tmp/old"))
    assert dth("redrive", *place).summary["found"] == 5
    assert dth(*look, expect=None).events[-3]["done"] == 5
    podman("stop", "-t", "60", *workers)
    for worker in workers:
        (state,) = json.loads(podman("inspect", worker))
        assert state["State"]["ExitCode"] in {0, 3}, podman("logs", worker)  # 3: it saw the five that failed at first
        assert '"event":"Summary"' in podman("logs", worker)
        podman("rm", worker)
    assert inventory(rgw.client("b"), destination) == inventory(rgw.client("a"), source)
    queue = dth("status", *place).events[-1]
    assert (queue["visible"], queue["leased"], queue["dead"]) == (0, 0, 0)
    bare("init", name, "--delete")


@pytest.fixture
def empty_registry() -> Iterator[DockerRegistry]:
    """The session's is counted by other tests."""
    started = registries.start()
    yield started
    started.stop()


def test_images_move_between_registries(podman: Podman, empty_registry: DockerRegistry, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    podman("import", "-q", tar(tmp_path, "file"), "localhost/tiny")
    creds = ("--tls-verify=false", "--creds", f"{USER}:{PASSWORD}", "-q")
    podman("push", *creds, "localhost/tiny", f"docker://{empty_registry.host}/contained/app:1")
    (tmp_path / "credentials").touch()
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    empty_registry.login(home)
    for path in (home / ".docker", home / ".docker" / "config.json"):
        os.chown(path, USER_ID, USER_ID)
    dth = contained(podman, tmp_path, Dth({}, ["--state"]))
    registry = empty_registry.address
    sides = ("--src-registry", registry, "--dest-registry", registry, "--dest-repository-prefix", "copied")
    what = ("--source-type", "Public", "--src-list", "SELECTED", "--src-image-list", "contained/app:1")
    assert dth("ecr-sync", *what, *sides).summary["done"] == 1
    podman("rmi", "localhost/tiny")
    podman("pull", *creds, f"docker://{empty_registry.host}/copied/contained/app:1")


def liveness_probe() -> str:
    """What the manifest of the workers has a kubelet run."""
    manifest = Path(__file__).parents[2] / "deploy/kubernetes/workers.yaml"
    (script,) = re.findall(r"command: \[sh, -c, '(.*)'\]", manifest.read_text())
    return str(script)


def tar(folder: Path, name: str) -> str:
    target = folder / "layer.tar"
    subprocess.run(["tar", "-C", str(folder), "-cf", str(target), name], check=True)
    return str(target)


STARTING = """
import sys, time, types
slow = types.ModuleType("dth.cli.main")
slow.run = lambda: (print("loading", flush=True), time.sleep(60))
sys.modules["dth.cli.main"] = slow
from dth.__main__ import run
run()
"""


def test_a_process_in_another_namespace_of_pids_is_not_taken_for_a_dead_one_of_ours() -> None:
    script = "from dth.embedded import process_name; print(process_name())"
    words = [sys.executable, "-c", script]
    elsewhere, here = (
        subprocess.run(before + words, capture_output=True, text=True, check=True).stdout.strip()
        for before in (["unshare", "--pid", "--fork", "--mount-proc"], [])
    )
    assert is_dead_here(here)
    assert not is_dead_here(elsewhere.replace(":1:", ":999999:"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_process_1_of_a_container_ends_on_a_signal_while_it_still_loads(number: signal.Signals) -> None:
    words = ["unshare", "--pid", "--fork", "--kill-child", sys.executable, "-c", STARTING]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as outer:
        assert outer.stdout
        assert outer.stdout.readline() == "loading\n"
        (inner,) = map(int, Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split())
        os.kill(inner, number)
        try:
            assert outer.wait(20) == 128 + number
        finally:
            outer.kill()
