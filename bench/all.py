"""All workloads over HTTP and HTTPS, one table: `python -m bench.all [--quick]`, or `make bench`, `make bench-quick`."""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench import build, bulk, listing, medium, small, unchanged, verify
from bench.compare import Result, Workload, measure
from bench.table import show

QUICK_NOTE = (
    "quick: one round, few objects, one setting of each peer. Starting up (Python's imports, one process a core) is a"
    " large part of dth's CPU here, and one round proves little: `make bench` is for comparing."
)


@dataclass(frozen=True, slots=True)
class Size:
    """How many objects each workload has."""

    workload: Callable[..., Workload]
    full: int
    quick: int


SIZES = (
    Size(small.workload, full=20_000, quick=2_000),
    Size(medium.workload, full=400, quick=60),
    Size(bulk.workload, full=8, quick=4),
    Size(verify.single, full=400, quick=60),
    Size(verify.parts, full=8, quick=4),
    Size(unchanged.workload, full=300_000, quick=30_000),
    Size(listing.workload, full=300_000, quick=50_000),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under two minutes on two cores; says less")
    parser.add_argument("--rounds", type=int, default=0, help="default 5, or 1 with --quick")
    args = parser.parse_args()
    if sys.platform != "linux":
        sys.exit("The benchmarks need Linux: epoll for the store, /proc and subreapers for the accounting.")
    if lacks := build.missing():
        sys.exit(f"The benchmarks need {lacks}; on Debian or Ubuntu: apt install gcc libc6-dev")
    notes = [QUICK_NOTE] if args.quick else []
    schemes = [False]
    if lacks := build.missing(tls=True):
        notes.append(f"HTTPS was left out: {lacks} not found.")
    else:
        schemes.append(True)
    start = time.monotonic()
    results = _results(schemes, quick=args.quick, rounds=args.rounds or (1 if args.quick else 5))
    notes += filter(None, map(verify.cost, results))
    notes.append(f"took {time.monotonic() - start:,.0f} s")
    show(results, "quick" if args.quick else "all", notes=notes)


def _results(schemes: list[bool], *, quick: bool, rounds: int) -> list[Result]:
    results = []
    for tls in schemes:
        for size in SIZES:
            workload = size.workload(size.quick if quick else size.full, tls=tls)
            results.append(measure(workload.leanest() if quick else workload, rounds))
    return results


if __name__ == "__main__":
    main()
