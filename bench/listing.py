"""Listing: CPU per 1,000 keys, whole process tree. `python -m bench.listing [--objects 300000]`."""

from dataclasses import replace

from bench.compare import Job, Workload, arguments, measure
from bench.contenders import dth_listing, rclone_listing, s5cmd_listing
from bench.table import show

NOTES = (
    """listing: dth has no command that only lists. Its line a key is `dth sync --dry-run` into an empty prefix, which
    also compares and says of each key what would be done; what counts keys and bytes is the lister that its finder
    uses, called by a program of the bench (count.py).""",
    "juicefs lists nothing but what it syncs, so it has no part in listing.",
)


def workload(objects: int, *, tls: bool) -> Workload:
    """Keys in folders of 1,000, as in `unchanged`; all are seen, none is read."""
    job = Job(
        "listing-tls" if tls else "listing",
        "source/data/",
        "dest/data/",
        objects,
        0,
        "µs per 1,000 keys",
        objects / 1000,
        copies=False,
        pages=objects // 1000,
    )
    everyone = (*dth_listing(), *rclone_listing(), *s5cmd_listing())
    silent = tuple(replace(one, hashes="nothing is read") for one in everyone)
    return Workload(job, silent, (f"source:data/:{objects}:10240:1000",), tls, notes=NOTES)


def main() -> None:
    args = arguments(__doc__, objects=300_000).parse_args()
    work = workload(args.objects, tls=args.tls).only(args.only)
    show([measure(work, args.rounds)], work.job.name)


if __name__ == "__main__":
    main()
