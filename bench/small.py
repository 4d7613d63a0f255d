"""Small objects: CPU per 10 KiB object, whole process tree. `python -m bench.small [--latency 30]`."""

from bench.compare import Job, Workload, arguments, measure
from bench.contenders import NO_S5CMD, dth, juicefs, rclone
from bench.table import show

SIZE = 10 << 10


def workload(objects: int, *, tls: bool, latency_ms: int = 0) -> Workload:
    """All of them into an empty destination."""
    # with latency, what is in flight decides; without, more of it only costs
    flight = 128 if latency_ms else 16
    name = f"small-{latency_ms}ms" if latency_ms else "small"
    name += "-tls" if tls else ""
    job = Job(name, "source/data/", "dest/data/", objects, objects * SIZE, "µs per object", objects)
    everyone = (dth(), *rclone(flight), *juicefs(flight, tls=tls))
    return Workload(job, everyone, (f"source:data/:{objects}:{SIZE}",), tls, latency_ms, (NO_S5CMD,))


def main() -> None:
    parser = arguments(__doc__, objects=20_000)
    parser.add_argument("--latency", type=int, default=0, help="milliseconds that the store holds back each answer")
    args = parser.parse_args()
    work = workload(args.objects, tls=args.tls, latency_ms=args.latency).only(args.only)
    show([measure(work, args.rounds)], work.job.name)


if __name__ == "__main__":
    main()
