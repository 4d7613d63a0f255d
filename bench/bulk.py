"""Large objects: CPU per GiB, whole process tree. `python -m bench.bulk [--size 268435456 --objects 8]`."""

from bench.compare import Job, Workload, arguments, measure
from bench.contenders import NO_S5CMD, dth_large, juicefs_large, rclone_large
from bench.table import show

SIZE, PART = 256 << 20, 8 << 20


def workload(objects: int, *, tls: bool, size: int = SIZE, part: int = PART) -> Workload:
    """All of them into an empty destination. `part` is how the source was uploaded; 0: by one PUT."""
    total = objects * size
    name = "bulk-tls" if tls else "bulk"
    job = Job(name, "source/data/", "dest/data/", objects, total, "s per GiB", total / 2**30)
    everyone = (*dth_large(), *rclone_large(), *juicefs_large(16, tls=tls))
    return Workload(job, everyone, (f"source:data/:{objects}:{size}:0:{part}",), tls, notes=(NO_S5CMD,))


def main() -> None:
    parser = arguments(__doc__, objects=8)
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--part", type=int, default=PART, help="how the source was uploaded; 0: by one PUT")
    args = parser.parse_args()
    work = workload(args.objects, tls=args.tls, size=args.size, part=args.part).only(args.only)
    show([measure(work, args.rounds)], work.job.name)


if __name__ == "__main__":
    main()
