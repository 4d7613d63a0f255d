"""Images: requests, bytes uploaded and CPU of `dth ecr-sync` beside `skopeo copy --all`, cold and again with nothing to do.

`python -m bench.images [--large MIB]`. Fifty images of ten repositories, made by buildah and oras, between two registries of
the tests that count what they are asked; the registries' own CPU is not counted. skopeo is started once an image, as it
has to be; dth runs with --no-referrers, because skopeo copies none.

Requests are shown by kind: `/v2/` (who is there, and how does one log in), pages of lists, and those about images. The ratio
of the warm runs is given of all of them and of those about images alone.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.servers import docker_registry, ministack
from tests.servers.docker_registry import PASSWORD, USER
from tests.servers.images import Maker
from tests.servers.registry import Registry

MiB = 1024**2
LISTS = ("GET tags", "GET _catalog")


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run over all images took; `kinds` are requests to both registries."""

    kinds: Counter[str]
    uploaded: int
    cpu: float
    seconds: float

    @property
    def requests(self) -> int:
        """All of them."""
        return self.kinds.total()

    def of(self, kind: str) -> int:
        """Those of one kind: `ping`, `list`, or `image` for all others."""
        apart = {"ping": self.kinds["GET ping"], "list": sum(self.kinds[name] for name in LISTS)}
        return apart[kind] if kind in apart else self.requests - sum(apart.values())


def missing() -> str:
    """Why this cannot run here; "" if it can."""
    if reason := docker_registry.missing():
        return reason
    return "" if ministack.program() else "no environment with oras (make build/services.installed)"


def run(commands: list[list[str]], env: dict[str, str]) -> tuple[float, float]:
    """CPU and wall seconds of the commands, one after the other."""
    before, began = os.times(), os.times().elapsed
    for words in commands:
        done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(words[:4])}: {done.stderr[-2000:]}")
    after = os.times()
    cpu = after.children_user - before.children_user + after.children_system - before.children_system
    return cpu, after.elapsed - began


def measure(commands: list[list[str]], env: dict[str, str], source: Registry, dest: Registry) -> Cost:
    """Run them and read what the registries counted."""
    source.forget()
    dest.forget()
    cpu, seconds = run(commands, env)
    return Cost(source.asked() + dest.asked(), dest.received, cpu, seconds)


def dth(source: Registry, dest: Registry, home: str) -> list[list[str]]:
    places = ["--src-registry", source.address, "--dest-registry", dest.address, "--state", f"{home}/state"]
    return [[sys.executable, "-m", "dth", "ecr-sync", *places, "--no-referrers"]]


def skopeo(source: Registry, dest: Registry, names: list[str]) -> list[list[str]]:
    options = ["-q", "--all", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false"]
    return [
        ["skopeo", "copy", *options, f"docker://{source.host}/{name}", f"docker://{dest.host}/{name}"] for name in names
    ]


def fill(source: Registry, folder: Path, large: int) -> list[str]:
    """The images, by way of Debian's registry; their names."""
    debian = docker_registry.start()
    try:
        made = Maker(debian, folder / "buildah", large).make()
        env = {**os.environ, "HOME": str(folder)}
        login = ["--src-creds", f"{USER}:{PASSWORD}", "--src-tls-verify=false", "--dest-tls-verify=false"]
        for name in made.digests:
            words = ["skopeo", "copy", "-q", "--all", "--preserve-digests", *login, f"docker://{debian.host}/{name}"]
            run([[*words, f"docker://{source.host}/{name}"]], env)
        return list(made.digests)
    finally:
        debian.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", type=int, default=100, help="MiB of the large layer")
    args = parser.parse_args()
    if reason := missing():
        print(f"images: left out: {reason}")
        return
    with tempfile.TemporaryDirectory(prefix="dth-bench-images-") as home, Registry() as source:
        names = fill(source, Path(home), args.large * MiB)
        env = {name: value for name, value in os.environ.items() if not name.startswith("DTH_")} | {"HOME": home}
        print(f"images: {len(names)}, a large layer of {args.large} MiB")
        print(f"{'':<12}{'requests':>10}{'/v2/':>8}{'lists':>8}{'images':>8}{'uploaded':>16}{'CPU s':>8}{'wall s':>8}")
        warm: dict[str, Cost] = {}
        for tool in ("dth", "skopeo"):
            with Registry() as dest:
                commands = dth(source, dest, home) if tool == "dth" else skopeo(source, dest, names)
                for kind in ("cold", "warm"):
                    cost = measure(commands, env, source, dest)
                    print(
                        f"{tool + ' ' + kind:<12}{cost.requests:>10,}{cost.of('ping'):>8}{cost.of('list'):>8}"
                        f"{cost.of('image'):>8}{cost.uploaded:>16,}{cost.cpu:>8.2f}{cost.seconds:>8.1f}"
                    )
                    if kind == "warm":
                        warm[tool] = cost
                assert dest.content() == source.content(), f"{tool} did not copy everything"
        for tool, cost in warm.items():
            print(f"{tool} warm, by kind: {', '.join(f'{name} {count}' for name, count in sorted(cost.kinds.items()))}")
        for name, ratio in (
            ("of all requests", warm["skopeo"].requests / warm["dth"].requests),
            ("of those about images", warm["skopeo"].of("image") / warm["dth"].of("image")),
        ):
            print(f"warm, skopeo to dth {name}: {ratio:.2f}")


if __name__ == "__main__":
    main()
