"""One process of a fleet for tests: `dth find` or one worker, on a queue that sends some messages twice.

`python -m tests.faults.fleet_process find|work SETTINGS`; SETTINGS are a TransferJob as JSON.
"""

import asyncio
import os
import random
import sys
from collections.abc import Sequence

from dth.app.verbs import find, run_child
from dth.embedded import process_name
from dth.queues.sqs import SqsQueue
from dth.settings import TransferJob

TWICE = 0.05
_send = SqsQueue.send


async def _doubled(self: SqsQueue, bodies: Sequence[str]) -> None:
    await _send(self, [each for body in bodies for each in [body] * (1 + (random.random() < TWICE))])


async def main(verb: str, settings: str) -> None:
    SqsQueue.send = _doubled  # type: ignore[method-assign]
    if verb == "find":
        job = TransferJob.model_validate_json(settings)
        await find(job, lambda _event: None, asyncio.Event(), dry_run=False)
    else:
        await run_child(
            settings, process_name(), strict=True, until_empty=True, emit=lambda _event: None, stop=asyncio.Event()
        )


if __name__ == "__main__":
    random.seed(os.urandom(8))
    asyncio.run(main(*sys.argv[1:]))
