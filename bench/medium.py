"""Objects of 5 MiB, each by one PUT: CPU per GiB, whole process tree. `python -m bench.medium [--objects 400]`."""

from bench.compare import Job, Workload, arguments, measure
from bench.contenders import NO_S5CMD, dth, juicefs, rclone
from bench.table import show

SIZE = 5 << 20


def workload(objects: int, *, tls: bool) -> Workload:
    """All of them into an empty destination. A single PUT's ETag is an MD5, so it can vouch for the bytes."""
    total = objects * SIZE
    name = "medium-tls" if tls else "medium"
    job = Job(name, "source/data/", "dest/data/", objects, total, "s per GiB", total / 2**30)
    everyone = (dth(), *rclone(8), *juicefs(16, tls=tls))
    return Workload(job, everyone, (f"source:data/:{objects}:{SIZE}",), tls, notes=(NO_S5CMD,))


def main() -> None:
    args = arguments(__doc__, objects=400).parse_args()
    work = workload(args.objects, tls=args.tls).only(args.only)
    show([measure(work, args.rounds)], work.job.name)


if __name__ == "__main__":
    main()
