"""`dth ecr-sync` between real registries, on images that other tools made, read back by other tools."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.harness import FULL, HANG_SECONDS, Dth, environment, scaled
from tests.e2e.test_large import Watched
from tests.servers import docker_registry as registries
from tests.servers.aws import Aws
from tests.servers.docker_registry import PASSWORD, USER, DockerRegistry
from tests.servers.images import REPOSITORIES, Images, Maker, raw_digest
from tests.servers.registry import Pattern, Registry

pytestmark = pytest.mark.slow
MiB, GiB = 1024**2, 1024**3
LOGIN = f"{USER}:{PASSWORD}"


@pytest.fixture(scope="module")
def images(docker_registry: DockerRegistry, ministack: Aws, tmp_path_factory: pytest.TempPathFactory) -> Images:
    """The fifty images, in the session's registry; ministack's environment has oras."""
    large = scaled(GiB) // 2**20 * 2**20
    made = Maker(docker_registry, tmp_path_factory.mktemp("buildah"), large).make()
    assert len(made.digests) == 50
    return made


@pytest.fixture
def other() -> Iterator[DockerRegistry]:
    started = registries.start()
    yield started
    started.stop()


def dth_between(folder: Path, source: list[str], destination: list[str], aws: Aws, *logins: DockerRegistry) -> Dth:
    """`dth` with logins in docker's configuration and AWS's endpoint in the environment."""
    for one in logins:
        one.login(folder)
    env = {**environment(folder, {}), **aws.environment()}
    return Dth(env, [*source, *destination, "--state", str(folder / "state"), "--json"])


def agree(host: str, prefix: str, expected: Mapping[str, str], login: str) -> None:
    """What `skopeo inspect --raw` reads has the digests of the source's."""
    names = list(expected)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda name: raw_digest(host, prefix + name, login), names))
    assert dict(zip(names, found, strict=True)) == dict(expected)


def pulls(host: str, prefix: str, names: list[str], folder: Path, login: str) -> None:
    """`skopeo copy --all` reads every blob of them and finds its digest right."""

    folder.mkdir()

    def pull(name: str) -> None:
        target = folder / name.replace("/", "_").replace(":", "_")
        words = ["skopeo", "copy", "-q", "--all", "--src-tls-verify=false", *(["--src-creds", login] if login else [])]
        done = subprocess.run(
            [*words, f"docker://{host}/{prefix}{name}", f"dir:{target}"],
            capture_output=True,
            text=True,
            timeout=HANG_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{name}: {done.stderr[-1000:]}"
        shutil.rmtree(target)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(pull, names))


def test_fifty_images_arrive_and_a_second_run_uploads_nothing(
    docker_registry: DockerRegistry, other: DockerRegistry, ministack: Aws, images: Images, tmp_path: Path
) -> None:
    source, destination = ["--src-registry", docker_registry.address], ["--dest-registry", other.address]
    dth = dth_between(tmp_path, source, destination, ministack, docker_registry, other)
    first = dth("ecr-sync")
    assert first.summary["done"] == len(images.digests)
    agree(other.host, "", images.digests, LOGIN)
    pulls(other.host, "", list(images.digests), tmp_path / "pulled", LOGIN)
    asked = {side: len(server.asked()) for side, server in (("source", docker_registry), ("destination", other))}
    second = dth("ecr-sync")
    assert (second.summary["done"], second.summary["skipped"]) == (0, len(images.digests))
    new = Counter(line.split(" ")[0] for line in other.asked()[asked["destination"] :])
    assert set(new) == {"HEAD"}
    requests = second.summary["requests"]
    manifests = sum(requests[side].get(kind, 0) for side in requests for kind in ("HeadManifest", "GetManifest"))
    assert manifests <= 2 * len(images.digests)
    assert requests["source"].get("Referrers", 0) <= len(images.digests)
    assert not {"PutManifest", "StartUpload", "MountBlob", "UploadBlob", "FinishUpload"} & set(requests["destination"])


def test_fifty_images_go_to_ecr_and_come_back(
    docker_registry: DockerRegistry, other: DockerRegistry, ministack: Aws, images: Images, tmp_path: Path
) -> None:
    to_ecr = dth_between(
        tmp_path, ["--src-registry", docker_registry.address], ["--dest-repository-prefix", "mirror"], ministack,
        docker_registry, other,
    )  # fmt: skip
    first = to_ecr("ecr-sync")
    assert first.summary["done"] == len(images.digests)
    host = ministack.endpoint.removeprefix("http://")
    agree(host, "mirror/", images.digests, "")
    pulls(host, "mirror/", list(images.digests)[:: 1 if FULL else 5], tmp_path / "pulled", "")
    second = to_ecr("ecr-sync")
    assert (second.summary["done"], second.summary["skipped"]) == (0, len(images.digests))
    asked_ecr = second.summary["requests"]["destination"]
    assert "HeadManifest" not in asked_ecr, "ECR's lists have the digests"
    assert asked_ecr["DescribeImages"] == len(REPOSITORIES)
    words = ["--src-list", "SELECTED", "--src-image-list", ",".join(f"mirror/{name}:ALL_TAGS" for name in REPOSITORIES)]
    back = dth_between(tmp_path, words, ["--dest-registry", other.address], ministack)("ecr-sync")
    assert back.summary["failed"] == 0
    agree(other.host, "mirror/", images.digests, LOGIN)
    asked = len(other.asked())
    again = dth_between(tmp_path, words, ["--dest-registry", other.address], ministack)("ecr-sync")
    assert again.summary["done"] == 0
    assert {line.split(" ")[0] for line in other.asked()[asked:]} == {"HEAD"}
    assert json.dumps(again.summary["requests"]["source"]).count("HeadManifest") == 0, "ECR's list has the digests"


def test_pruning_a_registry_that_removes_no_tags_keeps_what_other_images_hold(
    other: DockerRegistry, ministack: Aws, tmp_path: Path
) -> None:
    with Registry() as source:
        child = source.add_image("app", "v1-amd64", layers=(b"one platform",))
        source.add_index("app", "v1", [child])
        source.add_image("app", "old", layers=(b"old",))
        words = ["--src-registry", source.address], ["--dest-registry", other.address]
        dth = dth_between(tmp_path, *words, ministack, other)
        dth("ecr-sync")
        tags = source.repositories["app"].tags
        del tags["old"]
        assert dth("ecr-sync", "--prune").summary["deleted"] == 1
        with pytest.raises(AssertionError, match="manifest unknown"):
            raw_digest(other.host, "app:old", LOGIN)
        del tags["v1-amd64"]
        kept = dth("ecr-sync", "--prune", expect=3).summary
        assert (kept["deleted"], kept["failed"]) == (0, 1)
        agree(other.host, "", {"app:v1": tags["v1"], "app:v1-amd64": child["digest"]}, LOGIN)
        pulls(other.host, "", ["app:v1"], tmp_path / "pulled", LOGIN)
        back = ["--src-registry", other.address], ["--dest-registry", source.address]
        listed = dth_between(tmp_path / "back", *back, ministack, other)("ecr-sync", "--list")
        assert listed.summary["listed"] == 2, "the list of a real registry is read to its end"


def test_ten_large_layers_in_flight_fit_in_little_memory(tmp_path: Path) -> None:
    size = scaled(GiB, 20)
    with Registry() as source, Registry(sink=True) as destination:
        for number in range(10):
            source.add_image(f"app{number}", "v1", layers=(Pattern(number, size),))
        words = ["--src-registry", source.address, "--dest-registry", destination.address]
        dth = Dth(environment(tmp_path, {}), [*words, "--state", str(tmp_path / "state")])
        watched = Watched(dth, "ecr-sync")  # wait4's figure would count the test's own size before exec
        assert watched.wait() == 0
        assert destination.content() == source.content()
        assert destination.received >= 10 * size
        peak = max(watched.peaks.values())
        print(f"ten layers of {size / MiB:.0f} MiB: peak {peak / MiB:.0f} MiB")  # noqa: T201
        assert peak < 200 * MiB, f"{peak / MiB:.0f} MiB"
