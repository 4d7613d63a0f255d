"""All missing: what it costs to find out, and to queue, that every key must be copied; nothing is moved."""

from dataclasses import replace

from bench.compare import Job, Workload, arguments, measure
from bench.contenders import dth_planning
from bench.peers import juicefs_planning, rclone_planning
from bench.table import show
from bench.unchanged import spaces

NOTE = (
    "All missing: dth find writes what must be copied into its queue, which lasts. rclone and juicefs can only say it, by a"
    " dry run."
)


def workload(objects: int) -> Workload:
    """Keys in folders of 1,000; the destination is empty."""
    title = f"All missing: {objects:,} keys to be found and queued"
    job = Job(
        "missing",
        title,
        "source/data/",
        "dest/data/",
        objects,
        0,
        "1,000 keys",
        objects / 1000,
        copies=False,
        pages=objects // 1000,
    )
    peers = (rclone_planning(), *juicefs_planning(tls=False))
    slow = tuple(replace(one, rounds=1) for one in peers)
    return Workload(job, (dth_planning(), *slow), spaces(objects, ("source",)), notes=(NOTE,))


def main() -> None:
    args = arguments(__doc__, objects=1_000_000).parse_args()
    work = workload(args.objects)
    show(measure([work.only(args.only)], args.rounds), work.job.name)


if __name__ == "__main__":
    main()
