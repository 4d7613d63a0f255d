"""A mix, as buckets hold it: of every 64 objects 56 of 10 KiB, 7 of 1 MiB and one of 64 MiB in parts."""

from bench.compare import Job, Workload
from bench.contenders import dth
from bench.peers import juicefs, rclone
from bench.small import NOT_OVER_TLS

_KINDS = (("a", 56, 10 << 10, ""), ("b", 7, 1 << 20, ""), ("c", 1, 64 << 20, f":0:{8 << 20}"))
_ALL = sum(count for _, count, _, _ in _KINDS)


def workload(objects: int, *, tls: bool) -> Workload:
    """`objects` is rounded up to whole groups of 64."""
    groups = -(-objects // _ALL)
    total = groups * sum(count * size for _, count, size, _ in _KINDS)
    spaces = tuple(f"source:data/{name}/:{groups * count}:{size}{cut}" for name, count, size, cut in _KINDS)
    name, scheme = ("mix-tls", "HTTPS") if tls else ("mix", "HTTP")
    title = f"A mix of {groups * _ALL:,} objects (10 KiB, 1 MiB, 64 MiB), {total / 2**30:.1f} GiB, over {scheme}"
    job = Job(name, title, "source/data/", "dest/data/", groups * _ALL, total, "GiB", total / 2**30)
    notes = (NOT_OVER_TLS,) if tls else ()
    return Workload(job, (dth(), *rclone(8), *juicefs(16, tls=tls)), spaces, tls, notes=notes)
