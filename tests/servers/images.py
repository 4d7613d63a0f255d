"""Fifty images of ten repositories, made and pushed by tools that nobody here wrote: buildah, oras, skopeo.

Multi-platform indexes (OCI and Docker lists, one with an attestation), OCI artifacts, cosign-style signatures, layers shared
across repositories, an image without a layer of content, an empty blob, and one large layer.
"""

import hashlib
import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .docker_registry import PASSWORD, USER, DockerRegistry
from .ministack import program as ministack_program

REPOSITORIES = [f"team{number % 3}/app{number}" for number in range(8)] + ["library/odd", "charts/web"]
_ORAS = """
import sys, json, oras.client
from oras.oci import Subject
client = oras.client.OrasClient(hostname=sys.argv[1], insecure=True, auth_backend="basic")
client.auth.set_basic_auth(sys.argv[2], sys.argv[3])
for target, files in json.loads(sys.argv[4]):
    client.push(target=f"{sys.argv[1]}/{target}", files=files, disable_path_validation=True, quiet=True)
"""


@dataclass(frozen=True, slots=True)
class Images:
    """What was pushed: raw digest by `repository:tag`."""

    digests: dict[str, str]


class Maker:
    """Pushes into one registry; buildah's storage lies in `folder`."""

    def __init__(self, registry: DockerRegistry, folder: Path, large: int) -> None:
        self._registry = registry
        self._folder = folder
        self._large = large
        self._env = {**os.environ, "HOME": str(folder), "STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}
        folder.mkdir(parents=True, exist_ok=True)

    def make(self) -> Images:
        """All fifty."""
        bases = [self._base(number) for number in range(3)]
        jobs = [(repository, 0, bases[at % 3]) for at, repository in enumerate(REPOSITORIES[:8])]
        jobs += [("library/odd", tag, bases[tag % 3]) for tag in range(3)]
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda job: self._plain(*job), jobs))  # 11
        self._odd(bases[0])  # 12, 13
        for number, docker in enumerate((False, True, False)):
            self._index(f"team{number}/app{number}", bases, docker=docker, attested=number == 2)  # 14 to 16
        self._artifacts()  # 17 to 50
        return self.look()

    def _run(self, *words: str) -> str:
        done = subprocess.run(words, env=self._env, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, f"{' '.join(words[:4])}...: {done.stderr[-2000:]}"
        return done.stdout.strip()

    def _buildah(self, *words: str) -> str:
        roots = [
            "--root",
            str(self._folder / "root"),
            "--runroot",
            str(self._folder / "run"),
            "--storage-driver",
            "vfs",
        ]
        return self._run("buildah", *roots, *words)

    def _push(self, *words: str) -> None:
        self._buildah(*words[:-1], "--tls-verify=false", "--creds", f"{USER}:{PASSWORD}", *self._target(words[-1]))

    def _target(self, name: str) -> list[str]:
        image, _, target = name.partition(" ")
        return [image, f"docker://{self._registry.host}/{target}"]

    def _file(self, name: str, size: int) -> str:
        path = self._folder / name
        blocks = (hashlib.sha512(f"{name} {at}".encode()).digest() for at in range((size + 63) // 64))
        path.write_bytes(b"".join(blocks)[:size])
        return str(path)

    def _base(self, number: int) -> str:
        """Four layers, as base images have."""
        context = self._folder / f"context{number}"
        context.mkdir()
        lines = ["FROM scratch"]
        for part in range(4):
            Path(self._file(f"base{number}.{part}", 200_000 + number * 20_000)).rename(context / f"part{part}")
            lines.append(f"COPY part{part} /part{part}")
        (context / "Containerfile").write_text("\n".join(lines))
        self._buildah("build", "-q", "--layers", "-t", f"base{number}", str(context))
        return f"localhost/base{number}"

    def _plain(self, repository: str, tag: int, base: str) -> None:
        container = self._buildah("from", "--pull-never", base)
        own = self._file(f"{repository.replace('/', '-')}-{tag}", 20_000)
        self._buildah("copy", "-q", container, own, "/own")
        name = f"plain-{repository.replace('/', '-')}-{tag}"
        self._buildah(
            "commit",
            "-q",
            "--rm",
            "--format",
            "docker" if tag == 1 or repository == "team1/app1" else "oci",
            container,
            name,
        )
        self._push("push", "-q", f"localhost/{name} {repository}:v1.{tag}")

    def _odd(self, base: str) -> None:
        container = self._buildah("from", "scratch")
        self._buildah("config", "--label", "nothing=inside", container)
        self._buildah("commit", "-q", "--rm", container, "hollow")
        self._push("push", "-q", "localhost/hollow library/odd:hollow")
        container = self._buildah("from", "--pull-never", base)
        large = self._folder / "large"
        with large.open("wb") as out:
            for _ in range(self._large // 2**20):
                out.write(os.urandom(2**20))
        self._buildah("copy", "-q", container, str(large), "/large")
        large.unlink()
        self._buildah("commit", "-q", "--rm", container, "large")
        self._push("push", "-q", "--disable-compression", "localhost/large library/odd:large")

    def _index(self, repository: str, bases: list[str], *, docker: bool, attested: bool) -> None:
        name = f"index-{repository.replace('/', '-')}"
        self._buildah("manifest", "create", name)
        for number, machine in enumerate(("amd64", "arm64")):
            container = self._buildah("from", "--pull-never", bases[number])
            self._buildah("config", "--arch", machine, "--label", f"of={name}", container)
            kind = "docker" if docker else "oci"
            self._buildah("commit", "-q", "--rm", "--format", kind, container, f"{name}-{machine}")
            self._buildah("manifest", "add", "--arch", machine, name, f"localhost/{name}-{machine}")
        if attested:
            container = self._buildah("from", "scratch")
            self._buildah("config", "--label", "in-toto=statement", container)
            self._buildah("commit", "-q", "--rm", container, f"{name}-attestation")
            words = [
                "--os",
                "unknown",
                "--arch",
                "unknown",
                "--annotation",
                "vnd.docker.reference.type=attestation-manifest",
            ]
            self._buildah("manifest", "add", *words, name, f"localhost/{name}-attestation")
        kind = "v2s2" if docker else "oci"
        self._push("manifest", "push", "-q", "--all", "--format", kind, f"{name} {repository}:multi")

    def _artifacts(self) -> None:
        (self._folder / "empty").write_bytes(b"")
        pushes = [
            (f"charts/web:{number}.0.0", [f"{self._file(f'chart{number}', 5_000)}:application/x-chart"])
            for number in range(6)
        ]
        pushes.append(("charts/web:empty", [f"{self._folder / 'empty'}:application/x-nothing"]))
        shared = [f"{self._file(f'shared{number}', 50_000)}:application/x-part" for number in range(6)]
        pushes += [
            (f"{repository}:v2.{tag}", [*shared, f"{self._file(f'own{at}-{tag}', 3_000)}:application/x-part"])
            for at, repository in enumerate(REPOSITORIES[:8])
            for tag in range(3)
        ]
        for repository in ("team0/app0", "team1/app1", "team2/app2"):
            tag = self.raw_digest(f"{repository}:v1.0").replace(":", "-") + ".sig"
            signed = self._file(f"signature-{repository.replace('/', '-')}", 300)
            pushes.append((f"{repository}:{tag}", [f"{signed}:application/vnd.dev.cosign.simplesigning.v1+json"]))
        python = Path(ministack_program()).with_name("python")
        self._run(str(python), "-c", _ORAS, self._registry.host, USER, PASSWORD, json.dumps(pushes))

    def raw_digest(self, name: str) -> str:
        """The digest of an image as skopeo reads it."""
        return raw_digest(self._registry.host, name, f"{USER}:{PASSWORD}")

    def look(self) -> Images:
        """What is there now, as skopeo says."""
        found = {}
        for repository in REPOSITORIES:
            words = ["skopeo", "list-tags", "--tls-verify=false", "--creds", f"{USER}:{PASSWORD}"]
            tags = json.loads(self._run(*words, f"docker://{self._registry.host}/{repository}"))["Tags"]
            found.update({f"{repository}:{tag}": "" for tag in tags})
        with ThreadPoolExecutor(4) as pool:
            digests = list(pool.map(self.raw_digest, found))
        return Images(dict(zip(found, digests, strict=True)))


def raw_digest(host: str, name: str, login: str = "") -> str:
    """The digest of the bytes that `skopeo inspect --raw` prints."""
    words = ["skopeo", "inspect", "--raw", "--tls-verify=false", *(["--creds", login] if login else [])]
    done = subprocess.run([*words, f"docker://{host}/{name}"], capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr[-1000:]
    return "sha256:" + hashlib.sha256(done.stdout).hexdigest()
