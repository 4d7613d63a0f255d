"""Small objects: CPU per 10 KiB object, whole process tree. `python -m bench.small [--latency 100]`."""

from dataclasses import replace

from bench.compare import Job, Workload, arguments, measure
from bench.contenders import dth
from bench.network import Network
from bench.peers import (
    NO_S5CMD,
    awscli_copies,
    juicefs,
    juicefs_settings,
    rclone,
    rclone_defaults,
    s5cmd_copies,
)
from bench.table import show

SIZE = 10 << 10
NOT_OVER_TLS = "juicefs sync's minio:// speaks HTTP only."
_AWSCLI_SHARE = 20  # of 20,000 objects it would take minutes


def job(objects: int, *, tls: bool = False, name: str = "", how: str = "") -> Job:
    """All of them into an empty destination."""
    name = name or ("small-tls" if tls else "small")
    scheme = "HTTPS" if tls else "HTTP"
    title = f"Small objects: {objects:,} of 10 KiB over {how or scheme}"
    return Job(name, title, "source/data/", "dest/data/", objects, objects * SIZE, "object", objects)


def spaces(objects: int) -> tuple[str, ...]:
    return (f"source:data/:{objects}:{SIZE}",)


def workload(objects: int, *, tls: bool) -> Workload:
    """Everybody. Over HTTPS without s5cmd and awscli, which take minutes."""
    everyone = [dth(), *rclone(16), *juicefs_settings(tls=tls)]
    if not tls:
        everyone += [*s5cmd_copies(), *awscli_copies(_AWSCLI_SHARE)]
    notes = ("s5cmd and awscli were left out over HTTPS: they take minutes.", NOT_OVER_TLS) if tls else (NO_S5CMD,)
    return Workload(job(objects, tls=tls), tuple(everyone), spaces(objects), tls, notes=notes)


def many(objects: int) -> Workload:
    """Ten times as many, so that starting up counts for nothing: the leanest setting of each peer."""
    lean = (replace(rclone(16)[-1], rounds=2), *(replace(one, rounds=1) for one in juicefs(16, tls=False)))
    return Workload(job(objects, name="small-200k"), (dth(), *lean), spaces(objects), asks_proof=False)


def far(objects: int, *, round_trip: int = 100, tls: bool = False) -> Workload:
    """Through a relay that holds bytes back: here what is in flight decides, so the time on the clock counts."""
    flights = (64, 128, 256)
    tuned = [replace(rclone(count)[-1], setting=f"{count} transfers, leanest") for count in flights]
    plain = replace(rclone_defaults(), counts=False, share=20, rounds=2)
    more = [replace(one, rounds=2) for one in juicefs(128, tls=tls)]
    name = f"small-{round_trip}ms" + ("-tls" if tls else "")
    work = replace(job(objects, name=name, how=f"a round trip of {round_trip} ms"), metric="wall")
    note = "rclone as it comes (four transfers) moved a twentieth of the objects: all of them would take minutes."
    return Workload(
        work,
        (dth(), plain, *tuned, *more),
        spaces(objects),
        tls,
        Network(round_trip=round_trip),
        notes=(note,),
        asks_proof=False,
    )


def lossy(objects: int, *, loss: float = 0.01) -> Workload:
    """Between two network namespaces that lose packets at random, each way."""
    tuned = [replace(rclone(count)[-1], setting=f"{count} transfers, leanest") for count in (16, 64, 128)]
    work = replace(job(objects, name="small-loss", how=f"a network that loses {loss:.0%} of packets"), metric="wall")
    return Workload(
        work, (dth(), *tuned, *juicefs(64, tls=False)), spaces(objects), network=Network(loss=loss), asks_proof=False
    )


def main() -> None:
    parser = arguments(__doc__, objects=20_000)
    parser.add_argument("--latency", type=int, default=0, help="milliseconds of a round trip to the store")
    args = parser.parse_args()
    work = workload(args.objects, tls=args.tls)
    if args.latency:
        work = far(args.objects, round_trip=args.latency, tls=args.tls)
    show(measure([work.only(args.only)], args.rounds), work.job.name)


if __name__ == "__main__":
    main()
