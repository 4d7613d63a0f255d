"""Large objects: CPU per GiB, whole process tree. `python -m bench.bulk [--size 268435456 --objects 8]`."""

import argparse
from dataclasses import replace

from bench.compare import Job, measure, show
from bench.contenders import Contender, dth, juicefs, rclone
from bench.stand import store

HASHES = "CRC of each part, compared with the store's answer; parts as the source's, so the ETags must come out equal"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=8)
    parser.add_argument("--size", type=int, default=256 << 20)
    parser.add_argument("--part", type=int, default=8 << 20, help="how the source was uploaded; 0: by one PUT")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tls", action="store_true", help="HTTPS on both sides")
    parser.add_argument("--only", default="", help="comma-separated tools: dth, rclone, juicefs")
    args = parser.parse_args()
    contenders: list[Contender] = [
        replace(dth(), hashes=HASHES),
        *rclone(8),
        *([] if args.tls else juicefs(16)),
    ]  # its `minio://` speaks HTTP only
    if args.only:
        contenders = [contender for contender in contenders if contender.tool in args.only.split(",")]
    total = args.objects * args.size
    job = Job(
        "bulk-tls" if args.tls else "bulk",
        "source/data/",
        "dest/data/",
        args.objects,
        total,
        "CPU s per GiB",
        total / 2**30,
    )
    with store([f"source:data/:{args.objects}:{args.size}:0:{args.part}"], tls=args.tls) as running:
        rows = measure(job, contenders, running, args.rounds)
    show(job, rows, args.rounds)


if __name__ == "__main__":
    main()
