"""The ledger's table, and its values to and from items.

One table, two keys: `pk` (text) and `sk` (bytes).

| row | pk | sk | expires |
|---|---|---|---|
| run | `run#<run>` | `run` | 90 days after its finder last spoke |
| key of a run, secret | `secret#<run>` | `-` | 180 days after its start; never for a job's events |
| counter of a process, with what stands behind it | `run#<run>` | `count#<process>` | 180 days after its last message |
| what a process says of itself and a run | `processes#<job>` | `<run>#<process>` | 90 days after it last did |
| objects that failed, up to 200 in an item | `failed#<run>` | time, process, number | 90 days |
| a job's runs by age | `runs#<job>` | start time, run | with its run's start |
| a job's runs that may be under way | `job#<job>` | `open` | never |
| note, among them limits and parts of the bandwidth | `job#<job>` | `note#<name>` | never |
| outcome of a message | `outcome#<message>` | `-` | 30 days; a queue keeps a message 14 at most |
| upload | `uploads#<job>` | destination key | never: it is removed when the upload ends |
| moved parts of a shared upload | `parts#<job>#<hash of the upload id>` | first part's number | 90 days |
| sequencer of a key | `key#<job>#<hash of the key>` | `-` | 30 days |

Outcomes are most of the writes, and each has a partition key of its own; counters have one per process. A shared upload's
parts are rows of their own, so that the upload's row is written only when it begins and when it ends. No item is hot.
What stands behind a counter are attributes of its item, a few bytes each (`c:access_denied`), so that counting them costs
no write of its own.
"""

from __future__ import annotations

import hashlib
import json
import time
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from dth.ledgers.base import OutcomeRow, PartsRow, Run, UploadRow
from dth.ledgers.sharing_text import from_parts, from_sharing, to_parts, to_sharing
from dth.model import Counts, Generation
from dth.states import RunState
from dth.stats import KINDS, Breakdown

Item = dict[str, Any]
"""A DynamoDB item as the wire has it: `{"name": {"S": "text"}}`."""

DAY = 86_400
OUTCOME_DAYS, RUN_DAYS, COUNTER_DAYS = 30, 90, 180
ALONE = {"B": b"-"}  # the sort key of what is alone under its partition key
RUN_ROW = b"run"
COUNTER = b"count#"
COUNTED = ("done", "skipped", "failed", "bytes")
_KIND_OF = {kind[0]: kind for kind in KINDS}  # "c" of causes, and so on
_NAME_BYTES = 512
_SORTED_KEY_BYTES = 900  # a sort key holds 1,024
_PLAIN_BYTES = 512  # longer remainders are compressed: a write unit is a kilobyte


def expires(days: int) -> Item:
    """The TTL attribute's value."""
    return number(int(time.time()) + days * DAY)


def number(value: float) -> Item:
    """A number, exactly: DynamoDB keeps 38 digits."""
    return {"N": repr(value)}


def name(text: str) -> str:
    """Text as a part of a partition key: itself, or a hash of what is too long or no Unicode."""
    stored = text.encode(errors="surrogatepass")
    if len(stored) <= _NAME_BYTES and text.isascii():
        return text
    return hashlib.sha256(stored).hexdigest()


def blob(text: str) -> bytes:
    """Any Python text as bytes that order as its code points do."""
    return text.encode(errors="surrogatepass")


def run_key(run_id: str) -> Item:
    """Where a run is."""
    return {"pk": {"S": f"run#{name(run_id)}"}, "sk": {"B": RUN_ROW}}


def secret_key(run_id: str) -> Item:
    """Where a run's key is: under a partition key of its own, so that a policy can keep it from who may read the rest."""
    return {"pk": {"S": f"secret#{name(run_id)}"}, "sk": ALONE}


def secret_item(run: Run, key: bytes) -> Item:
    """What signs the messages of a run."""
    forgotten = {} if run.state is RunState.STANDING else {"expires": expires(COUNTER_DAYS)}
    return {**secret_key(run.run_id), "key": {"B": key}, **forgotten}


def counter_key(run_id: str, process: str) -> Item:
    """Where a process counts for a run."""
    return {"pk": {"S": f"run#{name(run_id)}"}, "sk": {"B": COUNTER + blob(name(process))}}


def runs_key(run: Run) -> Item:
    """Where a job's runs are ordered by age."""
    return {"pk": {"S": f"runs#{run.job_id}"}, "sk": {"B": f"{run.started_at:020.6f}#{name(run.run_id)}".encode()}}


def open_key(job_id: str) -> Item:
    """Where a job's runs are that may be under way."""
    return {"pk": {"S": f"job#{job_id}"}, "sk": {"B": b"open"}}


def note_key(job_id: str, note: str) -> Item:
    """Where a note is."""
    return {"pk": {"S": f"job#{job_id}"}, "sk": {"B": b"note#" + blob(note)}}


def outcome_key(message_id: str) -> Item:
    """Where a message's outcome is."""
    return {"pk": {"S": f"outcome#{name(message_id)}"}, "sk": ALONE}


def upload_key(job_id: str, dest_key: str) -> Item:
    """Where a key's upload is. Sorted as keys are; of keys over 900 bytes, those that begin alike in any order."""
    key = blob(dest_key)
    if len(key) > _SORTED_KEY_BYTES:
        key = key[:_SORTED_KEY_BYTES] + b"\xff" + hashlib.sha256(key).digest()
    return {"pk": {"S": f"uploads#{job_id}"}, "sk": {"B": key}}


def parts_key(job_id: str, upload_id: str, first: int) -> Item:
    """Where the parts from `first` on are: in order, a store's parts are 10,000 at most."""
    upload = hashlib.sha256(blob(upload_id)).hexdigest()
    return {"pk": {"S": f"parts#{job_id}#{upload}"}, "sk": {"B": f"{first:05}".encode()}}


def parts_item(row: PartsRow) -> Item:
    """Moved parts, compressed: ETags of sixteen parts would take more than a write unit."""
    parts = {"B": zlib.compress(from_parts(row.parts).encode())}
    return {**parts_key(row.job_id, row.upload_id, row.first), "parts": parts, "expires": expires(RUN_DAYS)}


def to_parts_row(job_id: str, upload_id: str, item: Item) -> PartsRow:
    """The reverse."""
    parts = to_parts(zlib.decompress(bytes(item["parts"]["B"])).decode())
    return PartsRow(job_id, upload_id, int(bytes(item["sk"]["B"])), parts)


def sequencer_key(job_id: str, key: str) -> Item:
    """Where the last event of a key is."""
    return {"pk": {"S": f"key#{job_id}#{hashlib.sha256(blob(key)).hexdigest()}"}, "sk": ALONE}


def to_json(reasons: Mapping[str, int]) -> str:
    """The same text for the same reasons, whatever their order."""
    return json.dumps(dict(reasons), sort_keys=True)


def run_item(run: Run) -> Item:
    """A run's row, without its counters."""
    return {
        **run_key(run.run_id),
        "run_id": {"S": run.run_id},
        "job_id": {"S": run.job_id},
        "state": {"S": run.state.value},
        "job_settings": {"S": run.job_settings},
        "finder": {"S": run.finder},
        "lease_until": number(run.lease_until),
        "started_at": number(run.started_at),
        "found_bytes": number(run.found_bytes),
        "reasons": {"S": to_json(run.reasons)},
        **({} if run.state is RunState.STANDING else {"expires": expires(RUN_DAYS)}),
    }


def to_run(items: Iterable[Item]) -> Run | None:
    """All items of a run's partition as the run with its counters summed; None where its row is not among them."""
    row: Item | None = None
    counts = Counts()
    broken_down: list[tuple[str, str, int]] = []
    for item in items:
        if item["sk"]["B"] == RUN_ROW:
            row = item
        else:
            counts += Counts(*(int(item[field]["N"]) for field in COUNTED))
            broken_down += _broken_down(item)
    if row is None:
        return None
    return Run(
        run_id=row["run_id"]["S"],
        job_id=row["job_id"]["S"],
        state=RunState(row["state"]["S"]),
        job_settings=row["job_settings"]["S"],
        finder=row["finder"]["S"],
        lease_until=float(row["lease_until"]["N"]),
        started_at=float(row["started_at"]["N"]),
        found=int(row["found"]["N"]) if "found" in row else None,
        found_bytes=int(row["found_bytes"]["N"]),
        reasons=json.loads(row["reasons"]["S"]),
        counts=counts,
        breakdown=Breakdown.of(broken_down),
    )


def count_update(counts: Counts, breakdown: Breakdown) -> Item:
    """What an update of a counter's item says, so that it counts so much more."""
    added = {field: getattr(counts, field) for field in COUNTED}
    added |= {f"{kind[0]}:{name}": count for kind, name, count in breakdown.counts()}
    names = {f"#n{at}": name for at, name in enumerate(added)}
    return {
        "UpdateExpression": "SET #expires = :expires ADD " + ", ".join(f"#n{at} :n{at}" for at in range(len(added))),
        "ExpressionAttributeNames": {"#expires": "expires", **names},
        "ExpressionAttributeValues": {
            ":expires": expires(COUNTER_DAYS),
            **{f":n{at}": number(count) for at, count in enumerate(added.values())},
        },
    }


def _broken_down(item: Item) -> list[tuple[str, str, int]]:
    """What a counter's item holds besides its counters."""
    return [
        (_KIND_OF[name[0]], name[2:], int(value["N"]))
        for name, value in item.items()
        if name[1:2] == ":" and name[0] in _KIND_OF
    ]


def processes_key(job_id: str, run_id: str, process: str = "") -> Item:
    """Where a process says what it has done for a run."""
    return {"pk": {"S": f"processes#{job_id}"}, "sk": {"B": blob(f"{name(run_id)}#{name(process) if process else ''}")}}


def failed_key(run_id: str) -> Item:
    """The partition key of a run's failed objects."""
    return {"S": f"failed#{name(run_id)}"}


def outcome_item(row: OutcomeRow) -> Item:
    """A message's row; a long remainder is compressed."""
    remainder: Item = {"S": row.remainder}
    if len(row.remainder) > _PLAIN_BYTES:
        remainder = {"B": zlib.compress(row.remainder.encode())}
    counts = row.counts
    return {
        **outcome_key(row.message_id),
        "id": {"S": row.message_id.encode(errors="backslashreplace").decode()},
        "run_id": {"S": row.run_id},
        "counts": {"L": [number(each) for each in (counts.done, counts.skipped, counts.failed, counts.bytes)]},
        "bitmap": {"S": row.bitmap},
        "remainder": remainder,
        "expires": expires(OUTCOME_DAYS),
    }


def to_outcome(message_id: str, item: Item) -> OutcomeRow:
    """The reverse."""
    remainder = item["remainder"]
    return OutcomeRow(
        message_id=message_id,
        run_id=item["run_id"]["S"],
        counts=Counts(*(int(each["N"]) for each in item["counts"]["L"])),
        bitmap=item["bitmap"]["S"],
        remainder=remainder["S"] if "S" in remainder else zlib.decompress(remainder["B"]).decode(),
    )


def upload_item(row: UploadRow) -> Item:
    """An upload's row."""
    generation = row.generation
    version = {"version_id": {"S": generation.version_id}} if generation.version_id is not None else {}
    return {
        **upload_key(row.job_id, row.dest_key),
        "job_id": {"S": row.job_id},
        "run_id": {"S": row.run_id},
        "dest_key": {"B": blob(row.dest_key)},
        "source_key": {"B": blob(row.source_key)},
        "etag": {"S": generation.etag},
        "size": number(generation.size),
        **version,
        "part_size": number(row.part_size),
        "upload_id": {"S": row.upload_id},
        "owner": {"S": row.owner},
        "owned_until": number(row.owned_until),
        "revision": number(row.revision),
        "created_at": number(row.created_at),
        "sharing": {"S": from_sharing(row.sharing)},
        "strays_since": number(row.strays_since),
    }


def to_upload(item: Item) -> UploadRow:
    """The reverse."""
    version = item["version_id"]["S"] if "version_id" in item else None
    return UploadRow(
        job_id=item["job_id"]["S"],
        run_id=item["run_id"]["S"],
        dest_key=text(item["dest_key"]["B"]),
        source_key=text(item["source_key"]["B"]),
        generation=Generation(item["etag"]["S"], int(item["size"]["N"]), version),
        part_size=int(item["part_size"]["N"]),
        upload_id=item["upload_id"]["S"],
        owner=item["owner"]["S"],
        owned_until=float(item["owned_until"]["N"]),
        revision=int(item["revision"]["N"]),
        created_at=float(item["created_at"]["N"]),
        sharing=to_sharing(item["sharing"]["S"]) if "sharing" in item else None,
        strays_since=float(item["strays_since"]["N"]) if "strays_since" in item else 0.0,
    )


def text(stored: bytes) -> str:
    """What `blob` was given."""
    return bytes(stored).decode(errors="surrogatepass")
