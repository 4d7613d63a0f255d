"""Nothing to do: CPU per 1,000 keys a side, whole process tree. `python -m bench.unchanged [--objects 100000]`."""

from dataclasses import replace

from bench.compare import Job, Workload, arguments, measure
from bench.contenders import NOTHING_READ, Contender, dth
from bench.peers import juicefs, rclone_unchanged, s5cmd_unchanged
from bench.table import show

KNOWN = ("--src-type", "Ceph_RGW", "--dest-type", "Ceph_RGW")  # a profile that vouches for order and start-after
ONE_RANGE, MANY_RANGES = "one range", "16 ranges"


def spaces(objects: int, buckets: tuple[str, ...] = ("source", "dest")) -> tuple[str, ...]:
    """The same keys in these buckets, in folders of 1,000, as people have them; flat would suit whoever lists folder by
    folder."""
    return tuple(f"{bucket}:data/:{objects}:10240:1000" for bucket in buckets)


def job(objects: int, *, tls: bool) -> Job:
    """All keys are on both sides."""
    size = f"{objects // 1_000_000}m" if objects >= 1_000_000 else f"{objects // 1000}k"
    name, scheme = (f"unchanged-{size}-tls", "HTTPS") if tls else (f"unchanged-{size}", "HTTP")
    title = f"Nothing to do: {objects:,} keys on each side, over {scheme}"
    sides = ("source/data/", "dest/data/")
    pages = 2 * (objects // 1000)
    return Job(name, title, *sides, objects, 0, "1,000 keys a side", objects / 1000, copies=False, pages=pages)


def ours() -> tuple[Contender, ...]:
    """In one range, as an unknown store is listed, and in many."""
    one, many = replace(dth(), setting=ONE_RANGE), replace(dth(*KNOWN), setting=MANY_RANGES, counts=False)
    return tuple(replace(contender, hashes=NOTHING_READ) for contender in (one, many))


def workload(objects: int, *, tls: bool) -> Workload:
    """Everybody."""
    idle = tuple(replace(one, hashes=NOTHING_READ) for one in juicefs(16, tls=tls))
    everyone = (*ours(), *rclone_unchanged(), *idle, *s5cmd_unchanged())
    return Workload(job(objects, tls=tls), everyone, spaces(objects), tls)


def million(objects: int) -> Workload:
    """The size where memory shows. Of the peers, whose figures per key barely change, one round is enough."""
    sizes = next(one for one in rclone_unchanged() if one.setting == "sizes")
    peers = (sizes, *juicefs(16, tls=False))
    once = tuple(replace(one, hashes=NOTHING_READ, rounds=1) for one in peers)
    return Workload(job(objects, tls=False), (*ours(), *once), spaces(objects))


def main() -> None:
    args = arguments(__doc__, objects=100_000).parse_args()
    work = workload(args.objects, tls=args.tls)
    show(measure([work.only(args.only)], args.rounds), work.job.name)


if __name__ == "__main__":
    main()
