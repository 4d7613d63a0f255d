"""Nothing to do: CPU per 1,000 keys a side, whole process tree. `python -m bench.unchanged [--objects 300000]`."""

from dataclasses import replace

from bench.compare import Job, Workload, arguments, measure
from bench.contenders import dth, juicefs, rclone_unchanged, s5cmd_unchanged
from bench.table import show


def workload(objects: int, *, tls: bool) -> Workload:
    """The same keys on both sides, in folders of 1,000, as people have them; flat would suit whoever lists folder by
    folder."""
    everyone = (dth(), *rclone_unchanged(), *juicefs(16, tls=tls), *s5cmd_unchanged())
    job = Job(
        "unchanged-tls" if tls else "unchanged",
        "source/data/",
        "dest/data/",
        objects,
        0,
        "µs per 1,000 keys",
        objects / 1000,
        copies=False,
        pages=2 * (objects // 1000),
    )
    spaces = tuple(f"{bucket}:data/:{objects}:10240:1000" for bucket in ("source", "dest"))
    return Workload(job, tuple(replace(one, hashes="nothing is read") for one in everyone), spaces, tls)


def main() -> None:
    args = arguments(__doc__, objects=300_000).parse_args()
    work = workload(args.objects, tls=args.tls).only(args.only)
    show([measure(work, args.rounds)], work.job.name)


if __name__ == "__main__":
    main()
