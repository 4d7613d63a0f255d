"""Objects of 1 or 5 MiB, each by one PUT: CPU per GiB, whole process tree. `python -m bench.medium [--mib 1]`."""

from bench.compare import Job, Workload, arguments, measure
from bench.contenders import dth
from bench.peers import NO_S5CMD, awscli_copies, juicefs_settings, rclone, s5cmd_copies
from bench.small import NOT_OVER_TLS
from bench.table import show

MIB = 1 << 20


def workload(objects: int, *, tls: bool, mib: int = 5) -> Workload:
    """All of them into an empty destination. A single PUT's ETag is an MD5, so it can vouch for the bytes."""
    total = objects * mib * MIB
    name, scheme = (f"{mib}mib-tls", "HTTPS") if tls else (f"{mib}mib", "HTTP")
    title = f"{objects:,} objects of {mib} MiB over {scheme}"
    job = Job(name, title, "source/data/", "dest/data/", objects, total, "GiB", total / 2**30)
    everyone = [dth(), *rclone(8), *juicefs_settings(tls=tls)]
    if not tls:
        everyone += [*s5cmd_copies((4, 16, 64)), *awscli_copies(4)]
    notes = (NOT_OVER_TLS,) if tls else (NO_S5CMD,)
    return Workload(job, tuple(everyone), (f"source:data/:{objects}:{mib * MIB}",), tls, notes=notes)


def main() -> None:
    parser = arguments(__doc__, objects=400)
    parser.add_argument("--mib", type=int, default=5)
    args = parser.parse_args()
    work = workload(args.objects, tls=args.tls, mib=args.mib)
    show(measure([work.only(args.only)], args.rounds), work.job.name)


if __name__ == "__main__":
    main()
