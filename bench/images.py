"""Images: CPU, requests and bytes of `dth ecr-sync` beside skopeo and regsync, cold and again with nothing to do.

`python -m bench.images [--large MIB]`. Fifty images of ten repositories, made by buildah and oras, between two registries of
the tests that count what they are asked; the registries' own CPU is not counted. skopeo is started once an image, as it
has to be; dth runs with --no-referrers, because skopeo copies none. Requests are also told by kind: `/v2/` (who is there,
and how does one log in), pages of lists, and those about images.
"""

import argparse
import contextlib
import math
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.compare import WrongError
from bench.results import Result, Row, Run
from bench.stand import Cost, run
from bench.table import show
from tests.servers import docker_registry, ministack
from tests.servers.docker_registry import PASSWORD, USER
from tests.servers.images import Maker
from tests.servers.registry import Registry

MIB = 1024**2
KINDS = ("cold", "warm")
_LISTS = ("GET tags", "GET _catalog")
_HASHED = "SHA-256 of each blob, against its digest; the destination checks it too"
_CREDENTIALS = ["--src-tls-verify=false", "--dest-tls-verify=false"]


def missing() -> str:
    """Why this cannot run here; "" if it can."""
    if reason := docker_registry.missing():
        return reason
    return "" if ministack.program() else "no environment with oras (make build/services.installed)"


def _dth(source: Registry, dest: Registry, _names: list[str], home: Path) -> list[str]:
    places = ["--src-registry", source.address, "--dest-registry", dest.address, "--state", str(home / "state")]
    return [sys.executable, "-m", "dth", "ecr-sync", *places, "--no-referrers"]


def _skopeo(source: Registry, dest: Registry, names: list[str], _home: Path) -> list[str]:
    tool = shlex.join(["skopeo", "copy", "-q", "--all", "--preserve-digests", *_CREDENTIALS])
    script = [f"{tool} docker://{source.host}/{name} docker://{dest.host}/{name}" for name in names]
    return ["sh", "-e", "-c", "\n".join(script)]


def _regsync(source: Registry, dest: Registry, names: list[str], home: Path) -> list[str]:
    hosts = "".join(f"  - registry: {one.host}\n    tls: disabled\n" for one in (source, dest))
    repositories = dict.fromkeys(name.rpartition(":")[0] for name in names)
    steps = "".join(
        f"  - source: {source.host}/{name}\n    target: {dest.host}/{name}\n    type: repository\n"
        for name in repositories
    )
    file = home / "regsync.yml"
    file.write_text(f"version: 1\ncreds:\n{hosts}sync:\n{steps}")
    return ["regsync", "once", "-c", str(file)]


TOOLS = {"dth": _dth, "skopeo": _skopeo, "regsync": _regsync}


@dataclass(slots=True)
class ImageMeasurement:
    """All images, cold and warm, by each tool that is installed. The source is filled before the first round."""

    large: int = 100 * MIB
    only: str = ""
    name: str = "images"
    runs: dict[tuple[str, str], list[Run]] = field(default_factory=dict)  # by tool and kind
    failures: list[str] = field(default_factory=list)
    kinds: dict[str, str] = field(default_factory=dict)  # of the warm run's requests, in words
    load: float = field(default_factory=lambda: os.getloadavg()[0])  # before the bench makes its own
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    source: Registry | None = None
    names: list[str] = field(default_factory=list)

    def round(self, ends: float = math.inf) -> None:
        if self.source is None:
            self.source = self.stack.enter_context(Registry())
            with tempfile.TemporaryDirectory(prefix="dth-bench-images-") as folder:
                self.names = fill(self.source, Path(folder), self.large)
        for tool in self.tools():
            if time.monotonic() >= ends:
                break
            with Registry() as dest, tempfile.TemporaryDirectory(prefix="dth-bench-") as home:
                try:
                    self._both(tool, self.source, dest, Path(home))
                except WrongError as wrong:
                    self.failures.append(str(wrong).partition("\n")[0])
                    print(f"  images: FAILED: {wrong}", flush=True)

    def _both(self, tool: str, source: Registry, dest: Registry, home: Path) -> None:
        for kind in KINDS:
            source.forget()
            dest.forget()
            words = TOOLS[tool](source, dest, self.names, home)
            cost = run(words, {"HOME": str(home)}, 900)
            asked: Counter[str] = source.asked() + dest.asked()
            if cost.exit_code or dest.content() != source.content():
                raise WrongError(f"{tool} ({kind}): exit {cost.exit_code}, or not everything is there\n{cost.output}")
            self.runs.setdefault((tool, kind), []).append(_run_of(cost, asked))
            if kind == "warm":
                self.kinds[tool] = ", ".join(f"{name} {count}" for name, count in sorted(asked.items()))
            print(f"  images, {kind}: {tool}: {cost.cpu:.2f} s CPU, {asked.total():,} requests", flush=True)

    def tools(self) -> list[str]:
        """Those that are installed and wanted."""
        here = [tool for tool in TOOLS if tool == "dth" or shutil.which(tool)]
        return [tool for tool in here if not self.only or tool in self.only.split(",")]

    def fewer(self) -> None:
        """Each has one setting."""

    def expected(self) -> float:
        return sum(runs[-1].wall for runs in self.runs.values()) + 1.0

    def prove(self) -> None:
        """Digests are what names a blob: nothing else proves it."""

    def close(self) -> None:
        self.stack.close()

    def results(self) -> list[Result]:
        absent = tuple(f"{tool}: not installed here" for tool in TOOLS if tool != "dth" and not shutil.which(tool))
        notes = (*absent, *(f"failed: {said}" for said in self.failures))
        notes += tuple(f"Requests of {tool} with nothing to do: {said}" for tool, said in self.kinds.items())
        titles = {"cold": "into an empty registry", "warm": "again, with nothing to do"}
        found = []
        for kind in KINDS:
            hashed = _HASHED if kind == "cold" else "manifests alone"
            rows = tuple(
                Row(tool, kind, hashed, counts=True, units=len(self.names), runs=tuple(runs))
                for (tool, of), runs in self.runs.items()
                if of == kind
            )
            title = f"Images: {len(self.names)} {titles[kind]}, a large layer of {self.large // MIB} MiB"
            size = {"objects": len(self.names), "bytes": self.large}
            of_all = Result(f"images-{kind}", title, "image", "cpu", **size, tls=False, rows=rows, notes=notes)
            found += [replace(of_all, load=round(self.load, 1))] if rows else []
        return found


def _run_of(cost: Cost, asked: Counter[str]) -> Run:
    return Run(round(cost.cpu, 4), round(cost.wall, 3), cost.rss, cost.tree_rss, asked.total(), 0)


def fill(source: Registry, folder: Path, large: int) -> list[str]:
    """The images, by way of Debian's registry; their names."""
    debian = docker_registry.start()
    try:
        made = Maker(debian, folder / "buildah", large).make()
        login = ["--src-creds", f"{USER}:{PASSWORD}", *_CREDENTIALS]
        for name in made.digests:
            words = ["skopeo", "copy", "-q", "--all", "--preserve-digests", *login, f"docker://{debian.host}/{name}"]
            cost = run([*words, f"docker://{source.host}/{name}"], {"HOME": str(folder)})
            if cost.exit_code:
                raise WrongError(f"skopeo could not fill the source: {cost.output}")
        return list(made.digests)
    finally:
        debian.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", type=int, default=100, help="MiB of the large layer")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", default="", help="comma-separated tools: dth, skopeo, regsync")
    args = parser.parse_args()
    if reason := missing():
        print(f"images: left out: {reason}")
        return
    one = ImageMeasurement(args.large * MIB, args.only)
    with contextlib.closing(one):
        for _ in range(args.rounds):
            one.round()
        show(one.results(), "images")


if __name__ == "__main__":
    main()
