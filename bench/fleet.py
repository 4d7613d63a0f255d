"""A fleet: one finder, then 1, 2 or 4 workers on this machine, over SQS and DynamoDB (emulated).

`python -m bench.fleet`. All workers share the machine's cores with the emulated services, which are Python: more workers
are no faster here. What counts is the CPU an object of finder and workers together, which must not grow with their number.
"""

from bench import aws
from bench.compare import Job, Workload, arguments, measure
from bench.contenders import AWS, CONTENT_MD5, DTH, Contender
from bench.small import SIZE, spaces
from bench.table import show

_FLAGS = (
    "--src-bucket source --src-prefix data/ --dest-bucket dest --dest-prefix data"
    " --src-endpoint {scheme}://{source_host}:{port} --dest-endpoint {scheme}://{dest_host}:{port}"
    f" --queue {aws.QUEUE} --table {aws.QUEUE}"
)


def workload(objects: int) -> Workload:
    """Small objects, so that messages and ledger matter most."""
    title = f"A fleet: {objects:,} objects of 10 KiB over SQS and DynamoDB (emulated)"
    job = Job("fleet", title, "source/data/", "dest/data/", objects, objects * SIZE, "object", objects)
    notes = ("Fleet: workers, store and emulated services share this machine, so more workers are no faster here.",)
    everyone = tuple(_fleet(count) for count in (1, 2, 4))
    return Workload(job, everyone, spaces(objects), notes=notes, on_aws=True, asks_proof=False)


def _fleet(workers: int) -> Contender:
    """`sh` starts them and waits; all must end well."""
    tool = " ".join(DTH)
    each = f'{tool} work {_FLAGS} --processes 1 --until-empty --state {{home}}/$n & all="$all $!"'
    numbers = " ".join(map(str, range(1, workers + 1)))
    ends = "for one in $all; do wait $one || exit 1; done"
    script = f"{tool} find {_FLAGS} --state {{home}}/0 && for n in {numbers}; do {each}; done && {ends}"
    name = "1 worker" if workers == 1 else f"{workers} workers"
    return Contender("dth", name, ("sh", "-c", script), CONTENT_MD5, AWS, counts=workers == 1, program=DTH[0])


def main() -> None:
    args = arguments(__doc__, objects=5_000).parse_args()
    if reason := aws.missing():
        print(f"fleet: left out: {reason}")
        return
    show(measure([workload(args.objects).only(args.only)], args.rounds), "fleet")


if __name__ == "__main__":
    main()
