"""dth's defaults beside its own settings by hand: they should reach nine tenths of the best. And one process beside two."""

from dataclasses import replace

from bench import bulk, medium, small
from bench.compare import Job, Workload, arguments, measure
from bench.contenders import WITH_CRCS, Contender
from bench.table import show

TUNED = "dth tuned"
_BY_HAND: dict[str, tuple[str, ...]] = {
    "small": ("--worker-number 8", "--worker-number 32", "--worker-number 64", "--processes 1 --worker-number 32"),
    "5mib": ("--worker-number 4", "--worker-number 8", "--worker-number 16", "--processes 1"),
    "bulk": ("--worker-number 4", "--worker-number 16", "--part-size 32MiB", "--processes 1"),
    "100ms": ("--worker-number 64", "--worker-number 128", "--worker-number 256"),
}


def workloads(scale: float = 1.0) -> list[Workload]:
    """One for each kind of work, measured by the clock: what is asked is throughput."""
    return [
        _by_hand("small", small.workload(int(20_000 * scale), tls=False)),
        _by_hand("5mib", medium.workload(max(int(400 * scale), 8), tls=False)),
        _by_hand("bulk", bulk.workload(max(int(8 * scale), 1), tls=False)),
        _by_hand("100ms", small.far(int(5_000 * scale))),
    ]


def _by_hand(kind: str, work: Workload) -> Workload:
    plain = _plain(work)
    tuned = (
        replace(plain, tool=TUNED, setting=words, command=(*plain.command, *words.split())) for words in _BY_HAND[kind]
    )
    job = replace(work.job, name=f"defaults-{kind}", title=f"Defaults beside settings by hand. {work.job.title}")
    return replace(work, job=replace(job, metric="wall"), contenders=(plain, *tuned), notes=(), asks_proof=False)


def _plain(work: Workload) -> Contender:
    """dth as its user starts it; of large objects, towards a store whose sums it knows."""
    ours = [one for one in work.contenders if one.tool == "dth"]
    return next((one for one in ours if one.setting == WITH_CRCS), ours[0])


def processes(objects: int) -> Workload:
    """One worker process, and two: what each object costs."""
    work = small.workload(objects, tls=False)
    plain = _plain(work)
    job: Job = replace(work.job, name="processes", title=f"One process beside two. {work.job.title}")
    both = tuple(
        replace(plain, tool=tool, setting=f"--processes {count}", command=(*plain.command, "--processes", str(count)))
        for tool, count in (("dth", 2), ("dth, one process", 1))
    )
    return replace(work, job=job, contenders=both, notes=(), asks_proof=False)


def main() -> None:
    args = arguments(__doc__, objects=20_000).parse_args()
    show(measure([*workloads(args.objects / 20_000), processes(args.objects)], args.rounds), "defaults")


if __name__ == "__main__":
    main()
