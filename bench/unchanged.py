"""Nothing to do: CPU per 1,000 keys a side, whole process tree. `python -m bench.unchanged [--objects 300000]`."""

import argparse
from dataclasses import replace

from bench.compare import Job, measure, show
from bench.contenders import Contender, dth, juicefs, rclone_unchanged
from bench.stand import store


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="comma-separated tools: dth, rclone, juicefs")
    args = parser.parse_args()
    everyone = [dth(), *rclone_unchanged(), *juicefs(16)]
    contenders: list[Contender] = [replace(contender, hashes="nothing is read") for contender in everyone]
    if args.only:
        contenders = [contender for contender in contenders if contender.tool in args.only.split(",")]
    thousands = args.objects / 1000
    job = Job("unchanged", "source/data/", "dest/data/", args.objects, 0, "µs per 1,000 keys", thousands, copies=False)
    # folders of 1,000, as people have them; flat would suit whoever lists folder by folder
    with store([f"{bucket}:data/:{args.objects}:10240:1000" for bucket in ("source", "dest")]) as running:
        rows = measure(job, contenders, running, args.rounds)
    show(job, rows, args.rounds)


if __name__ == "__main__":
    main()
