"""dth beside its peers: `python -m bench.all`, or `make bench` and `make bench-quick`.

Results go into `bench/results/DATE-COMMIT.json` after each round, so that whoever interrupts it keeps what was measured; a
later run of the same commit, perhaps of other workloads, adds to that file. `python -m bench.report` makes docs/speed.md
of the newest one.
"""

import argparse
import contextlib
import os
import signal
import sys
from types import FrameType

from bench import bounds, build, interpreter, verify
from bench.catalogue import CATALOGUE, Entry, chosen
from bench.results import Report, Result, commit, now, save
from bench.schedule import Schedule, Turn
from bench.table import show

QUICK_NOTE = (
    "quick: one round, few objects, one setting of each peer. Starting up (Python's imports, one process a core) is a"
    " large part of dth's CPU here, and one round proves little: `make bench` is for comparing."
)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", default="", metavar="NAMES", help="workloads, comma-separated: small,bulk (see --list)"
    )
    parser.add_argument("--tools", default="", metavar="NAMES", help="contenders, comma-separated: dth,rclone")
    parser.add_argument("--rounds", type=int, default=0, help="of each workload; default 5, or 1 with --quick")
    parser.add_argument("--minutes", type=float, help="end in time: fewer rounds, then fewer workloads; quick: 1.9")
    parser.add_argument("--objects", type=int, default=0, help="try with so few; the results are not kept")
    parser.add_argument("--quick", action="store_true", help="under two minutes on two cores; says less; is not kept")
    parser.add_argument("--anyway", action="store_true", help="start on a busy machine, too")
    parser.add_argument(
        "--python", default="auto", metavar="PATH", help="to run dth with; auto: /usr/bin/python3; this"
    )
    parser.add_argument("--list", action="store_true", help="name the workloads and end")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    if args.list:
        print("\n".join(entry.name for entry in CATALOGUE))
        return
    try:
        entries = chosen(args.only)
    except KeyError as unknown:
        sys.exit(
            f"--only: no workload is called {unknown.args[0]!r}; there are: {', '.join(e.name for e in CATALOGUE)}"
        )
    if reason := refusal(anyway=args.anyway):
        sys.exit(reason)
    interpreter.run_with(args.python)
    signal.signal(signal.SIGTERM, _interrupt)
    measure(entries, args)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def refusal(*, anyway: bool) -> str:
    """Why not to start here and now; "" where all is well."""
    if sys.platform != "linux":
        return "The benchmarks need Linux: epoll for the store, /proc and subreapers for the accounting."
    if lacks := build.missing():
        return f"The benchmarks need {lacks}; on Debian or Ubuntu: apt install gcc libc6-dev"
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load > cores and not anyway:
        return (
            f"The machine is busy: its load was {load:.1f} over the last minute, and it has {cores} cores. Figures would"
            " say more about the others than about dth. Wait, or start with --anyway: the results will say that it was so."
        )
    return ""


def measure(entries: list[Entry], args: argparse.Namespace) -> None:
    """All of them, as the schedule has it; whatever ends it, what was measured is shown and kept."""
    notes = [QUICK_NOTE] if args.quick else []
    entries = [entry for entry in entries if not args.quick or entry.quick]
    lacking = {entry.name: entry.lacks() for entry in entries}
    notes += [f"{name} was left out: {reason}" for name, reason in lacking.items() if reason]
    scale = 0.1 if args.quick or args.objects else 1.0
    with contextlib.ExitStack() as stack:
        turns = []
        for entry in (entry for entry in entries if not lacking[entry.name]):
            one = entry.measurement(quick=args.quick, tools=args.tools, objects=args.objects)
            stack.callback(one.close)
            turns.append(Turn(entry, one, max(entry.seconds * scale, 2.0)))
        minutes = args.minutes or (1.9 if args.quick else 0.0)
        schedule = Schedule(turns, args.rounds or (1 if args.quick else 5), minutes * 60, prove=not args.quick)
        kept = not (args.quick or args.objects or args.tools)
        try:
            for turn in schedule.run():
                if kept:
                    save(_report(turn.measurement.results(), ()))
        except KeyboardInterrupt:
            print("\ninterrupted: what follows was measured until now", flush=True)
            schedule.left_out.append("the run was interrupted")
        finally:
            _conclude(turns, [*notes, *schedule.left_out], kept=kept, name="quick" if args.quick else "all")


def _conclude(turns: list[Turn], notes: list[str], *, kept: bool, name: str) -> None:
    results = [result for turn in turns for result in turn.measurement.results()]
    notes += [line for result in results if (line := verify.cost(result))]
    if not results:
        print("\n".join(["nothing was measured", *notes]))
        return
    show(results, name, notes=notes)
    if kept:  # of fewer objects or other tools the bounds say nothing
        print("\n".join(bounds.lines(_report(results, ()))))
        print(f"kept: {save(_report(results, tuple(notes))).relative_to(build.HERE.parent)}")
    failed = [note for result in results for note in result.notes if note.startswith("failed: dth")]
    if failed:
        sys.exit("\n".join(failed))


def _report(results: list[Result], notes: tuple[str, ...]) -> Report:
    return Report(now(), commit(), interpreter.machine(), tuple(results), notes)


if __name__ == "__main__":
    main()
