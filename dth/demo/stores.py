"""Two object stores on loopback for a first look, the first one filled: `python -m dth.demo.stores FOLDER OBJECTS`.

It prints one JSON line, `{"source": ENDPOINT, "destination": ENDPOINT}` or `{"error": TEXT}`, and keeps the stores until its
standard input ends, as it does when whoever started it dies. The stores need no key: they are open to this machine, and hold
nothing but the demo's own objects.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sys
from pathlib import Path

from dth.errors import DthError

BUCKETS = ("dth-demo-source", "dth-demo-destination")
LARGE_BYTES = 20_000_000
REGION = "us-east-1"


def main() -> None:
    """See the module."""
    folder, objects = Path(sys.argv[1]), int(sys.argv[2])
    shutil.rmtree(folder, ignore_errors=True)
    try:
        asyncio.run(_serve(folder, objects))
    except DthError as error:
        _say(error=str(error))
        sys.exit(1)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _serve(folder: Path, objects: int) -> None:
    from dth.demo.fill import fill  # noqa: PLC0415 - the engine is loaded only where stores are filled
    from dth.demo.objects import large_object, small_objects  # noqa: PLC0415
    from dth.demo.seaweed import make_bucket, running  # noqa: PLC0415
    from dth.settings import TransferJob  # noqa: PLC0415

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_reader(sys.stdin.fileno(), stop.set)  # nothing is ever written there: readable means that it ended
    try:
        async with running(folder / "one", "", "") as one, running(folder / "two", "", "") as two:
            await asyncio.to_thread(make_bucket, one, BUCKETS[0])
            await asyncio.to_thread(make_bucket, two, BUCKETS[1])
            job = TransferJob.model_validate(settings(one.endpoint, two.endpoint))
            await fill(job, [*small_objects(objects), large_object(LARGE_BYTES)])
            _say(source=one.endpoint, destination=two.endpoint)
            await stop.wait()
    finally:
        loop.remove_reader(sys.stdin.fileno())


def settings(source: str, destination: str) -> dict[str, str]:
    """The settings of a job between the two, by their endpoints."""
    return {
        "src_bucket": BUCKETS[0], "src_endpoint": source, "src_region": REGION, "src_credentials": "anonymous",
        "dest_bucket": BUCKETS[1], "dest_endpoint": destination, "dest_region": REGION, "dest_credentials": "anonymous",
    }  # fmt: skip


def _say(**fields: str) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
