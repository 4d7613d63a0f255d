"""Large objects: CPU per GiB, whole process tree. `python -m bench.bulk [--size 268435456 --objects 8]`."""

from dataclasses import replace

from bench.compare import Job, Workload, arguments, measure
from bench.contenders import WITH_CRCS, dth_large
from bench.peers import awscli_copies, juicefs, juicefs_settings, obstore_large, rclone_large, s5cmd_copies
from bench.small import NOT_OVER_TLS
from bench.table import show

SIZE, PART = 256 << 20, 8 << 20
GIANT, GIANT_PART = 5 << 30, 64 << 20
_NO_SUM = "nothing; lengths"


def _job(objects: int, size: int, name: str, *, tls: bool) -> Job:
    total = objects * size
    shown = f"{size >> 30} GiB" if size >= 1 << 30 else f"{size >> 20} MiB"
    many = "One object" if objects == 1 else f"{objects} objects"
    title = f"{many} of {shown}, multipart, over {'HTTPS' if tls else 'HTTP'}"
    name = f"{name}-tls" if tls else name
    return Job(name, title, "source/data/", "dest/data/", objects, total, "GiB", total / 2**30)


def workload(objects: int, *, tls: bool, size: int = SIZE, part: int = PART) -> Workload:
    """All of them into an empty destination. `part` is how the source was uploaded; 0: by one PUT."""
    everyone = [*dth_large(), *rclone_large(), *juicefs_settings(tls=tls, hashes=_NO_SUM), obstore_large()]
    if not tls:
        slow = (*s5cmd_copies((16,)), *awscli_copies(4))
        everyone += [replace(one, rounds=2) for one in slow]
    notes = (NOT_OVER_TLS,) if tls else ()
    spaces = (f"source:data/:{objects}:{size}:0:{part}",)
    return Workload(_job(objects, size, "bulk", tls=tls), tuple(everyone), spaces, tls, notes=notes)


def giant(objects: int, *, tls: bool, size: int = GIANT) -> Workload:
    """One object alone: whoever moves a large object by one connection is slow here."""
    ours = [one for one in dth_large() if one.setting == WITH_CRCS]
    peers = (rclone_large()[-1], *(replace(one, hashes=_NO_SUM) for one in juicefs(16, tls=tls)))
    spaces = (f"source:data/:{objects}:{size}:0:{GIANT_PART}",)
    notes = (NOT_OVER_TLS,) if tls else ()
    return Workload(_job(objects, size, "giant", tls=tls), (*ours, *peers), spaces, tls, notes=notes)


def main() -> None:
    parser = arguments(__doc__, objects=8)
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--part", type=int, default=PART, help="how the source was uploaded; 0: by one PUT")
    args = parser.parse_args()
    work = workload(args.objects, tls=args.tls, size=args.size, part=args.part)
    show(measure([work.only(args.only)], args.rounds), work.job.name)


if __name__ == "__main__":
    main()
