"""The catalogue of error codes: what each means, what to do about it, and whether another try may help as things are.

Reports, dead letters, the ledger and `--json` name errors by code; whoever shows one to a person takes the words from here.
`docs/errors.md` is made of this table (`python -m dth.causes`), and a test demands an entry for every code there is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dth.errors import (
    AnswerInvalid,
    BodyMismatch,
    ConnectFailed,
    ConnectionLost,
    DigestRefused,
    DthError,
    ProtocolViolation,
    ServerFault,
    Throttled,
    TimedOut,
)
from dth.values import value


@value
class Cause:
    """One code in words. `label` names what happened, `hint` says what to do; `retriable`: the same may succeed later
    although nobody changed anything."""

    label: str
    hint: str
    retriable: bool


def _again(label: str, hint: str) -> Cause:
    return Cause(label, hint, retriable=True)


def _mend(label: str, hint: str) -> Cause:
    return Cause(label, hint, retriable=False)


_CREDENTIALS = "Check the credentials that the job names: key, secret, expiry, and the clock of this machine."

OBJECTS: Mapping[str, Cause] = {
    "access_denied": _mend(
        "Not allowed",
        "Allow the action that the message names, for the key that it names, then redrive. `dth probe` shows which are missing.",
    ),
    "answer_invalid": _again(
        "Answer without sense",
        "The store said 200 and did not do it, or left out what must be there. Redrive; if it stays, report it to the store.",
    ),
    "bad_credentials": _mend("Credentials not accepted", _CREDENTIALS),
    "body_mismatch": _again(
        "Bytes do not add up",
        "What arrived is not what the source promised. Redrive; if it stays, the object is damaged at the source or a proxy "
        "changes bodies.",
    ),
    "condition_conflict": _again("Written by two at once", "Something else writes the same key. Stop it, or redrive later."),
    "connect_failed": _again(
        "No connection", "Check the endpoint's name and port, DNS, routes and firewalls between here and there."
    ),
    "connection_lost": _again("Connection cut", "The network or the store ended connections early. Redrive; lower --worker-number if it stays."),
    "dead_letter": _again(
        "Given up by the queue",
        "The message was delivered too often and never finished, because workers died with it. Look why they die (memory?), "
        "then redrive.",
    ),
    "digest_refused": _again("Damaged on its way", "The store computed another checksum than was sent. Redrive; if it stays, look for a bad network device."),
    "image": _again("Image not copied", "Read the message; then run again."),
    "internal": _again("Defect of dth", "Please report it with the message. Redrive after an update."),
    "key_refused": _mend("Key that the destination cannot hold", "Rename the object at the source, or choose another destination prefix."),
    "left_out_of_the_listing": _again(
        "Left out of the listing",
        "The source's listing did not show this key, and the source has it. Nothing is deleted on the word of that listing. Look "
        "for what cuts it short (a proxy, a gateway, the kind of store); then run again.",
    ),
    "listed_but_absent": _again(
        "Listed, but not there",
        "The store lists this key and then denies having it: its listing cannot carry the key as it is. Rename the object, or "
        "set the kind of store.",
    ),
    "manifest_invalid": _mend("Manifest that cannot be copied", "Push the image again with a current tool; Docker schema 1 is not copied."),
    "manifest_missing": _mend("Image incomplete at its source", "Push the image again: its registry lacks a part of it."),
    "no_such_bucket": _mend("No such bucket", "Check the bucket's name, its endpoint, and that it was not deleted."),
    "no_such_key": _again("Gone since it was listed", "Nothing to do: the source no longer has it. The next run sees that."),
    "no_such_upload": _again("Upload gone", "Something aborted a multipart upload of ours (a lifecycle rule?). Redrive."),
    "not_found": _again("Not found", "Check that it still exists at the source, and that its name is right."),
    "object_changed": _again("Changes faster than it can be copied", "Redrive when it is written less often, or let the next run copy it."),
    "part_plan": _mend("Too large for the destination", "The destination takes neither so many nor so large parts. Raise --part-size, or split the object."),
    "parts_differ": _again("Parts that contradict the source", "What arrived does not make the source's ETag. Redrive; if it stays, set `verify` to `full`."),
    "parts_lost": _again("Parts lost", "Messages of its parts kept vanishing. Look at the queue's retention and receive limit, then redrive."),
    "precondition_failed": _again("Not the object that was planned", "The object changed meanwhile. The next run plans it anew."),
    "protocol_violation": _again("Not HTTP as it should be", "A proxy or the store breaks the protocol. Take the proxy out, or report it to the store."),
    "proxy_refused": _mend("Proxy refused", "Give the proxy its user and password, or allow the host there."),
    "refuses_all": _mend("Refuses everything", "The store refused one object after another and accepted none. Mend what the message says, then run again."),
    "request_refused": _mend("Request refused", "The store does not accept this object as it is. Read the message; change the setting that it speaks of."),
    "server_fault": _again("The store failed", "Errors of the store's own (5xx). Redrive when it is well again."),
    "store": _again("Error of the store", "Read the message, which holds the store's own words and request id."),
    "tag_conflict": _mend("Immutable tag holds another image", "Remove the tag at the destination, or allow it to be overwritten there."),
    "throttled": _again("Asked to slow down", "The store limits requests. Nothing is lost; lower --worker-number or ask for a higher quota if it goes on."),
    "timed_out": _again("No answer in time", "Check the network and the store's load; raise --first-byte-seconds or --idle-seconds for slow stores."),
    "tls_failed": _mend("Certificate or handshake refused", "Check the certificate's name and issuer; give your own authority with --ca-bundle."),
    "transfer": _again("Not copied", "Read the message; then redrive."),
    "transport": _again("No valid answer", "Check the network between here and the store; then redrive."),
    "wrong_region": _mend("Bucket in another region", "Give the bucket's own region with --src-region or --dest-region."),
}  # fmt: skip
"""Why an object, or an image, failed."""

COMMANDS: Mapping[str, Cause] = {
    "cost_refused": _mend("Costs too much", "Look at the plan with --dry-run; then raise --max-cost, or narrow the job."),
    "deletes_refused": _mend("Deletes refused", "A guard held. Look at what would go with --dry-run, then raise --max-delete if it is meant."),
    "error": _mend("Error", "Read the message."),
    "ledger": _again("Ledger failed", "Look at the ledger's file or table (disk, permissions, throttling); then run again."),
    "ledger_unavailable": _mend("Ledger out of reach", "Check the table's name, region and permissions; `dth init` makes one."),
    "listing_broken": _again("Listing that cannot be trusted", "A listing repeats or ends early. Run again; set the kind of store (--src-type, --dest-type) if it stays."),
    "listing_failed": _again("Listing not read to its end", "What was found before is copied. Run again."),
    "message_invalid": _mend("Not a message of ours", "Something else writes to the queue. Look at the dead letters."),
    "queue": _again("Queue failed", "Look at the queue's file or service; then run again."),
    "queue_unavailable": _mend("Queue out of reach", "Check the queue's URL, region and permissions; `dth init` makes one."),
    "report": _mend("Report not written", "Free some space, or name another file with --report."),
    "restores_failed": _again("Some restores refused", "Read the messages above; then run again."),
    "run_under_way": _again("Another run is under way", "Wait for it, or start beside it with --overlap."),
    "settings": _mend("Wrong setting", "The message names the setting and what is allowed."),
    "spool": _mend("Disk did not take it", "Free some space in the state directory."),
    "start_failed": _mend("Did not start", "Read the message; worker processes that keep dying often lack memory."),
    "wrong_job": _mend("Settings of another job", "Start the worker with the settings of the run, or with its job id alone."),
}  # fmt: skip
"""Why a command ended, or an error that concerns no single object."""

INSIDE: Mapping[str, Cause] = {
    "destination_exists": _again("Exists at the destination", "Nothing to do: --no-clobber leaves it as it is."),
    "disorder": _again("Listing out of order", "Nothing to do: it is sorted on disk."),
    "lease_lost": _again("Taken over by another worker", "Nothing to do: the other one goes on with it."),
    "refused": _again("Condition did not hold", "Nothing to do: somebody else was first."),
    "upload_owned": _again("Another worker is at it", "Nothing to do: it is given back."),
}
"""What the engine says to itself. It is mended before anybody sees it, unless in a warning."""

SKIPS: Mapping[str, Cause] = {
    "event_ignored": _again(
        "Event that asks for nothing", "Another bucket, prefix or kind of event than the job follows."
    ),
    "gone": _again("Gone since it was listed", "The source deleted it before it could be copied."),
    "needs_restore": _mend("Archived", "Restore it at the source first; --restore asks for that."),
    "unneeded": _again("Needed nothing any more", "The destination was right by then, or must not be overwritten."),
    "untrue_listing": _again(
        "Equal, although listed otherwise", "The listing told another size or ETag than the object."
    ),
}
"""Why an object was skipped."""

ALL: Mapping[str, Cause] = {**COMMANDS, **INSIDE, **SKIPS, **OBJECTS}

_UNKNOWN = _again("Unknown code", "Another version of dth wrote it: update this one.")


def cause_of(code: str) -> Cause:
    """A code in words; never fails, because another version may have written it."""
    return ALL.get(code, _UNKNOWN)


RETRIES: Mapping[str, str] = {
    "throttled": "asked to slow down",
    "timed_out": "no answer in time",
    "reset": "connection cut in the middle",
    "refused": "no connection",
    "server_error": "the store failed (5xx)",
    "damaged": "bytes or answer did not add up",
    "corrected": "region, clock or credentials set right",
    "other": "anything else",
}
"""Why a request had to be made again, in words."""

_RETRY_CAUSES: tuple[tuple[type[DthError], str], ...] = (
    (Throttled, "throttled"),
    (TimedOut, "timed_out"),
    (ConnectFailed, "refused"),
    (ConnectionLost, "reset"),
    (ProtocolViolation, "reset"),
    (ServerFault, "server_error"),
    (BodyMismatch, "damaged"),
    (DigestRefused, "damaged"),
    (AnswerInvalid, "damaged"),
)


def retry_cause(error: DthError) -> str:
    """One of RETRIES."""
    return next((cause for kind, cause in _RETRY_CAUSES if isinstance(error, kind)), "other")


_CHAPTERS = (
    ("Objects and images", "Why one failed. `dth status` counts them by code, with examples.", OBJECTS),
    ("Commands", "Why a command ended, or an error that concerns no single object.", COMMANDS),
    ("Skipped", "Why an object was counted as skipped.", SKIPS),
    ("Inside", "What the engine says to itself. You may meet these in warnings; there is nothing to do.", INSIDE),
)


_ABOUT = (
    "Reports, dead letters, `dth status` and `--json` name errors by code. *Again* says whether another try may help "
    "although nothing was changed: `yes` is for `dth redrive`, `no` wants the remedy first."
)


def page() -> str:
    """The text of `docs/errors.md`."""
    lines = [
        "# Error codes",
        "",
        _ABOUT,
        "",
        "This page is made from `dth/causes.py` by `python -m dth.causes`.",
    ]
    for title, about, causes in _CHAPTERS:
        lines += [
            "",
            f"## {title}",
            "",
            about,
            "",
            "| code | what happened | what to do | again |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| `{code}` | {one.label} | {one.hint} | {'yes' if one.retriable else 'no'} |"
            for code, one in sorted(causes.items())
        ]
    lines += ["", "## Retries", "", "Why requests had to be made again.", "", "| cause | meaning |", "|---|---|"]
    lines += [f"| `{cause}` | {meaning} |" for cause, meaning in RETRIES.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    Path("docs/errors.md").write_text(page(), encoding="utf-8")
