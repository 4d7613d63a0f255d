"""All workloads, the most telling first, with their sizes and how long a first round takes on two quiet cores."""

from collections.abc import Callable
from dataclasses import dataclass

from bench import (
    absent,
    aws,
    build,
    bulk,
    fleet,
    images,
    listing,
    medium,
    mix,
    network,
    small,
    startup,
    tuning,
    unchanged,
    verify,
)
from bench.compare import Measurement, StoreMeasurement, Workload

Make = Callable[[int], Workload]


@dataclass(frozen=True, slots=True)
class Entry:
    """A workload of one `name` and its sizes in objects: `full`, and `quick` (0: no part of a quick run).
    `seconds` is a first round at full size, all settings included."""

    name: str
    make: Make
    full: int
    quick: int
    seconds: float
    bound: bool = False  # a bound of bounds.py hangs on it, so more rounds go here first

    @property
    def tls(self) -> bool:
        return self.name.endswith("-tls")

    def lacks(self) -> str:
        """What this machine lacks for it; "" where nothing is."""
        if self.tls and (reason := build.missing(tls=True)):
            return reason
        special = {"small-loss": network.lacks_loss, "fleet": aws.missing, "images": images.missing}
        return special[self.name]() if self.name in special else ""

    def measurement(self, *, quick: bool, tools: str, objects: int = 0) -> Measurement:
        """Ready to be measured, with the tools that are here."""
        count = objects or (self.quick if quick else self.full)
        if self.name == "images":
            return images.ImageMeasurement(count * images.MIB, tools)
        work = self.make(count).only(tools).here()
        return StoreMeasurement(work.leanest() if quick else work)


def _plain(make: Callable[..., Workload]) -> Make:
    return lambda count: make(count, tls=False)


def _tls(make: Callable[..., Workload]) -> Make:
    return lambda count: make(count, tls=True)


def _mib(mib: int, *, tls: bool) -> Make:
    return lambda count: medium.workload(count, tls=tls, mib=mib)


def _fixed(make: Callable[[], Workload]) -> Make:
    return lambda _count: make()


def _tuned(kind: int, base: int) -> Make:
    return lambda count: tuning.workloads(count / base)[kind]


def _no_workload(_count: int) -> Workload:
    raise AssertionError("images are measured by images.py")


CATALOGUE = (
    Entry("startup-help", _fixed(startup.helps), 1, 1, 1, bound=True),
    Entry("startup-version", _fixed(startup.version), 1, 1, 1, bound=True),
    Entry("startup-one", _fixed(startup.one), 1, 1, 2, bound=True),
    Entry("small", _plain(small.workload), 20_000, 2_000, 75, bound=True),
    Entry("small-tls", _tls(small.workload), 20_000, 2_000, 22, bound=True),
    Entry("bulk", _plain(bulk.workload), 8, 2, 45, bound=True),
    Entry("5mib", _mib(5, tls=False), 400, 60, 35, bound=True),
    Entry("bulk-tls", _tls(bulk.workload), 8, 2, 30, bound=True),
    Entry("5mib-tls", _mib(5, tls=True), 400, 60, 15, bound=True),
    Entry("unchanged-1m", unchanged.million, 1_000_000, 0, 45, bound=True),
    Entry("missing", absent.workload, 1_000_000, 20_000, 90, bound=True),
    Entry("small-100ms", small.far, 5_000, 500, 80, bound=True),
    Entry("small-loss", small.lossy, 2_000, 300, 40, bound=True),
    Entry("processes", tuning.processes, 20_000, 0, 6, bound=True),
    Entry("small-200k", small.many, 200_000, 0, 110, bound=True),
    Entry("fleet", fleet.workload, 5_000, 500, 35),
    Entry("images", _no_workload, 100, 0, 80),
    Entry("defaults-small", _tuned(0, 20_000), 20_000, 0, 15, bound=True),
    Entry("defaults-5mib", _tuned(1, 400), 400, 0, 12, bound=True),
    Entry("defaults-bulk", _tuned(2, 8), 8, 0, 12, bound=True),
    Entry("defaults-100ms", _tuned(3, 5_000), 5_000, 0, 30, bound=True),
    Entry("unchanged-100k", _plain(unchanged.workload), 100_000, 20_000, 30),
    Entry("giant", _plain(bulk.giant), 1, 0, 30),
    Entry("mix", _plain(mix.workload), 1_280, 128, 25),
    Entry("1mib", _mib(1, tls=False), 2_000, 100, 40),
    Entry("listing", _plain(listing.workload), 100_000, 20_000, 20),
    Entry("verify-single", _plain(verify.single), 400, 60, 6),
    Entry("verify-parts", _plain(verify.parts), 8, 2, 6),
    Entry("1mib-tls", _mib(1, tls=True), 2_000, 100, 20),
    Entry("mix-tls", _tls(mix.workload), 1_280, 0, 25),
    Entry("giant-tls", _tls(bulk.giant), 1, 0, 30),
    Entry("unchanged-100k-tls", _tls(unchanged.workload), 100_000, 0, 30),
)


def chosen(words: str) -> list[Entry]:
    """Those that the comma-separated words name, each by its whole name or by the front of it (`small` takes
    `small-tls` too); "" takes all. Raises KeyError with a word that names none."""
    wanted = [word.strip() for word in words.split(",") if word.strip()]
    for word in wanted:
        if not any(_named(entry, word) for entry in CATALOGUE):
            raise KeyError(word)
    return [entry for entry in CATALOGUE if not wanted or any(_named(entry, word) for word in wanted)]


def _named(entry: Entry, word: str) -> bool:
    return entry.name == word or entry.name.startswith(f"{word}-")
