"""What proving the bytes costs: CPU per GiB with `--verify transfer` beside `--verify off`. `python -m bench.verify`.

Two ways: single PUTs, where the source's MD5 goes along and the destination hashes; and parts, whose CRCs are combined and held
against the one that the source keeps of the whole, and each against the destination's answer.
"""

from dataclasses import replace

from bench.compare import Job, Result, Workload, arguments, measure
from bench.contenders import dth
from bench.table import show

AIM = 1.3  # times the CPU of `--verify off`, at most
SINGLE, LARGE, PART = 5 << 20, 256 << 20, 8 << 20
_UNVERIFIED = "dth unverified"


def single(objects: int, *, tls: bool) -> Workload:
    """Objects of 5 MiB, each by one PUT, with an MD5 for an ETag."""
    return _workload("verify-single", objects, SINGLE, "", (), tls=tls)


def parts(objects: int, *, tls: bool) -> Workload:
    """Objects of 256 MiB of which the source keeps a CRC64NVME, between stores that verify CRCs."""
    types = ("--src-type", "SeaweedFS", "--dest-type", "SeaweedFS")
    return _workload("verify-parts", objects, LARGE, f":0:{PART}", types, tls=tls)


def _workload(name: str, objects: int, size: int, cut: str, flags: tuple[str, ...], *, tls: bool) -> Workload:
    total = objects * size
    job = Job(f"{name}-tls" if tls else name, "source/data/", "dest/data/", objects, total, "s per GiB", total / 2**30)
    checked = replace(dth(*flags), setting="--verify transfer", hashes=_HASHES[name])
    bare = dth(*flags, "--verify", "off")
    unchecked = replace(bare, tool=_UNVERIFIED, setting="--verify off", hashes="nothing; lengths")
    return Workload(job, (unchecked, checked), (f"source:data/:{objects}:{size}{cut}",), tls)


_HASHES = {
    "verify-single": "the source's MD5 goes along as Content-MD5 (the destination hashes); lengths",
    "verify-parts": "own CRC64NVME of each part, which must equal the destination's, and all of them the source's",
}


def cost(result: Result) -> str:
    """A line that says how many times as much it costs; "" for another workload."""
    cpu = {row.tool: row.cpu_seconds for row in result.rows}
    if _UNVERIFIED not in cpu:
        return ""
    times = cpu["dth"] / cpu[_UNVERIFIED]
    return (
        f"{result.job.name}: --verify transfer costs {times:.2f} times the CPU of --verify off (the aim: {AIM} at most)"
    )


def main() -> None:
    args = arguments(__doc__, objects=8).parse_args()
    results = [
        measure(single(args.objects * 50, tls=args.tls), args.rounds),
        measure(parts(args.objects, tls=args.tls), args.rounds),
    ]
    show(results, "verify-tls" if args.tls else "verify", notes=[cost(result) for result in results])


if __name__ == "__main__":
    main()
