"""Start-up: CPU of the help, the version, and a sync of one object: `python -m bench.startup`."""

from dataclasses import replace

from bench.compare import Job, Workload, arguments, measure
from bench.contenders import DTH, Contender, dth
from bench.peers import juicefs, rclone, simple
from bench.small import SIZE
from bench.table import show


def _asked(name: str, title: str, *who: Contender) -> Workload:
    job = Job(name, title, "source/data/", "dest/data/", 1, 0, "start", 1, copies=False)
    return Workload(job, who, (f"source:data/:1:{SIZE}",))


def helps() -> Workload:
    """`--help` of each."""
    ours = replace(dth(), setting="--help", command=(*DTH, "--help"), hashes="nothing")
    return _asked("startup-help", "Start-up: --help", ours, *simple("--help"))


def version() -> Workload:
    """The version of each."""
    ours = replace(dth(), setting="--version", command=(*DTH, "--version"), hashes="nothing")
    return _asked("startup-version", "Start-up: the version", ours, *simple("version"))


def one() -> Workload:
    """A sync of one small object."""
    job = Job(
        "startup-one", "Start-up: a sync of one object of 10 KiB", "source/data/", "dest/data/", 1, SIZE, "start", 1
    )
    return Workload(job, (dth(), rclone(4)[-1], *juicefs(4, tls=False)), (f"source:data/:1:{SIZE}",))


def main() -> None:
    args = arguments(__doc__, objects=1).parse_args()
    everyone = [work.only(args.only) for work in (helps(), version(), one())]
    show(measure(everyone, args.rounds), "startup")


if __name__ == "__main__":
    main()
