"""Listing: CPU per 1,000 keys, whole process tree. `python -m bench.listing [--objects 100000]`."""

from dataclasses import replace

from bench.compare import Job, Workload, arguments, measure
from bench.contenders import NOTHING_READ, dth_listing
from bench.peers import awscli_listing, rclone_listing, s5cmd_listing
from bench.table import show
from bench.unchanged import spaces

_OURS = (
    "Listing: dth has no command that only lists. Its line a key is `dth sync --dry-run` into an empty prefix, which also"
    " compares and says of each key what would be done; what counts keys and bytes is the lister that its finder uses,"
    " called by a program of the bench (count.py)."
)
NOTES = (
    _OURS,
    "juicefs lists nothing but what it syncs, so it has no part in listing.",
)


def workload(objects: int, *, tls: bool) -> Workload:
    """Keys in folders of 1,000, as in `unchanged`; all are seen, none is read."""
    name, scheme = ("listing-tls", "HTTPS") if tls else ("listing", "HTTP")
    job = Job(
        name,
        f"Listing alone: {objects:,} keys over {scheme}",
        "source/data/",
        "dest/data/",
        objects,
        0,
        "1,000 keys",
        objects / 1000,
        copies=False,
        pages=objects // 1000,
    )
    everyone = (*dth_listing(), *rclone_listing(), *s5cmd_listing(), replace(awscli_listing(), rounds=1))
    silent = tuple(replace(one, hashes=NOTHING_READ) for one in everyone)
    return Workload(job, silent, spaces(objects, ("source",)), tls, notes=NOTES)


def main() -> None:
    args = arguments(__doc__, objects=100_000).parse_args()
    work = workload(args.objects, tls=args.tls)
    show(measure([work.only(args.only)], args.rounds), work.job.name)


if __name__ == "__main__":
    main()
