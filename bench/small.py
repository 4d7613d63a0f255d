"""Small objects: CPU per 10 KiB object, whole process tree. `python -m bench.small [--latency 30]`."""

import argparse

from bench.compare import Job, measure, show
from bench.contenders import Contender, dth, juicefs, rclone
from bench.stand import store

SIZE = 10 << 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--latency", type=int, default=0, help="milliseconds that the store holds back each answer")
    parser.add_argument("--tls", action="store_true", help="HTTPS on both sides")
    parser.add_argument("--only", default="", help="comma-separated tools: dth, rclone, juicefs")
    args = parser.parse_args()
    # with latency, what is in flight decides; without, more of it only costs
    flight = 128 if args.latency else 16
    contenders: list[Contender] = [
        dth(),
        *rclone(flight),
        *([] if args.tls else juicefs(flight)),
    ]  # its `minio://` speaks HTTP only
    if args.only:
        contenders = [contender for contender in contenders if contender.tool in args.only.split(",")]
    name = f"small-{args.latency}ms" if args.latency else "small"
    name += "-tls" if args.tls else ""
    size = args.objects * SIZE
    job = Job(name, "source/data/", "dest/data/", args.objects, size, "µs CPU per object", args.objects)
    with store([f"source:data/:{args.objects}:{SIZE}"], latency_ms=args.latency, tls=args.tls) as running:
        rows = measure(job, contenders, running, args.rounds)
    show(job, rows, args.rounds)


if __name__ == "__main__":
    main()
