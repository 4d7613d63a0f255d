"""What proving the bytes costs: CPU per GiB with `--verify transfer` beside `--verify off`. `python -m bench.verify`.

Two ways: single PUTs, where the source's MD5 goes along and the destination hashes; and parts, whose CRCs are combined and held
against the one that the source keeps of the whole, and each against the destination's answer.
"""

from dataclasses import replace

from bench.compare import Job, Workload, arguments, measure
from bench.contenders import CONTENT_MD5, dth
from bench.results import Result
from bench.table import show

AIM = 1.3  # times the CPU of `--verify off`, at most
SINGLE, LARGE, PART = 5 << 20, 256 << 20, 8 << 20
_UNVERIFIED = "dth unverified"


def single(objects: int, *, tls: bool) -> Workload:
    """Objects of 5 MiB, each by one PUT, with an MD5 for an ETag."""
    title = f"What verifying costs: {objects} objects of 5 MiB by single PUTs"
    return _workload("verify-single", title, objects, SINGLE, "", (), tls=tls)


def parts(objects: int, *, tls: bool) -> Workload:
    """Objects of 256 MiB of which the source keeps a CRC64NVME, between stores that verify CRCs."""
    types = ("--src-type", "SeaweedFS", "--dest-type", "SeaweedFS")
    title = f"What verifying costs: {objects} objects of 256 MiB by parts"
    return _workload("verify-parts", title, objects, LARGE, f":0:{PART}", types, tls=tls)


def _workload(
    name: str, title: str, objects: int, size: int, cut: str, flags: tuple[str, ...], *, tls: bool
) -> Workload:
    total = objects * size
    title, full = (f"{title}, HTTPS", f"{name}-tls") if tls else (title, name)
    job = Job(full, title, "source/data/", "dest/data/", objects, total, "GiB", total / 2**30)
    checked = replace(dth(*flags), setting="--verify transfer", hashes=_HASHES[name])
    bare = dth(*flags, "--verify", "off")
    unchecked = replace(bare, tool=_UNVERIFIED, setting="--verify off", hashes="nothing; lengths")
    return Workload(job, (unchecked, checked), (f"source:data/:{objects}:{size}{cut}",), tls)


_HASHES = {
    "verify-single": CONTENT_MD5,
    "verify-parts": "own CRC64NVME of each part, which must equal the destination's, and all of them the source's",
}


def cost(result: Result) -> str:
    """A line that says how many times as much it costs; "" for another workload."""
    checked, unchecked = result.row("dth"), result.row(_UNVERIFIED)
    if not checked or not unchecked:
        return ""
    times = checked.cpu / unchecked.cpu
    return f"{result.name}: --verify transfer costs {times:.2f} times the CPU of --verify off (the aim: {AIM} at most)"


def main() -> None:
    args = arguments(__doc__, objects=8).parse_args()
    both = [single(args.objects * 50, tls=args.tls), parts(args.objects, tls=args.tls)]
    results = measure(both, args.rounds)
    show(results, "verify-tls" if args.tls else "verify", notes=[cost(result) for result in results])


if __name__ == "__main__":
    main()
