"""Every error that dth raises, in one tree, which is why this file may be longer than 400 lines.

    DthError
    ├── SettingsError             bad, unknown or contradictory settings or URLs      exit 2
    ├── WrongJob                  settings contradict those stored with the run       exit 2
    ├── RunUnderWay               another finder or run of this job is active
    ├── LeaseLost                 somebody else owns the message, run or upload now
    ├── QueueError, LedgerError   the queue or the ledger failed
    │   └── QueueUnavailable, LedgerUnavailable    cannot reach it, or not allowed      exit 4
    ├── DeletesRefused            a guard stopped deletion                            exit 3
    ├── CostRefused               the plan costs more than is allowed                 exit 3
    ├── RestoresFailed            archived objects could not be restored              exit 3
    ├── ListingFailed             a listing could not be read to its end              exit 3
    ├── StartFailed               a process or server of ours did not start
    ├── TransferError             moving one object failed
    │   ├── ObjectChanged         the source's generation changed while it moved
    │   ├── BodyMismatch          length or checksum does not add up
    │   ├── KeyRefused            the destination cannot hold this key
    │   ├── ListedButAbsent       a listing shows a key that the store does not have
    │   ├── LeftOut               a listing did not show a key that the store has
    │   └── ImageError            moving one image failed
    │       ├── ManifestInvalid   the source's manifest is not one that can be copied
    │       └── ManifestMissing   the image names a manifest or blob that its registry lacks
    ├── TransportError            no HTTP answer, or not a valid one       retryable
    │   ├── ConnectFailed         name, refused, unreachable, connect timeout         exit 4
    │   ├── TlsFailed             certificate or handshake; never retried             exit 4
    │   ├── ProxyRefused          the proxy wants a password, or forbids the origin   exit 4
    │   ├── TimedOut              first byte or idle timeout
    │   ├── ConnectionLost        closed or reset in the middle
    │   └── ProtocolViolation     the peer's HTTP does not add up
    └── StoreError                the store answered with an error, or with nonsense
        ├── NoSuchBucket          exit 4
        ├── NoSuchKey, NoSuchUpload, NotFound
        │   └── NoSuchImage       the source's registry has no such tag or digest
        ├── AccessDenied          names the action that is missing                    exit 4
        ├── RefusesAll            every object so far was refused, and none accepted  exit 4
        ├── BadCredentials        key unknown, signature wrong, token expired         exit 4
        ├── WrongRegion           the store names another region                      exit 4
        ├── PreconditionFailed    412: not the generation that was asked for
        ├── ConditionConflict     409 on a conditional write
        ├── TagConflict           an immutable tag holds another digest; never retried
        ├── Archived              the object must be restored first
        ├── Throttled             slow down; carries Retry-After           retryable
        ├── ServerFault           5xx and their kin                        retryable
        ├── DigestRefused         BadDigest and kin: bytes arrived damaged retryable
        ├── ListingBroken         pages that cannot be trusted
        ├── AnswerInvalid         200 with an error inside, or an answer that lacks what it must hold  retryable
        └── RequestRefused        any other 4xx

Adapters translate foreign exceptions and answers at one gate, from status and code, never from message text. `code` is
a stable word for reports; `retryable` says whether the same request may be sent again; messages are for people: what
failed, on what, why, and what to do next. No secret is ever part of one. Keys and the words of others may be: `str` of an
error spells out what a terminal would obey (`dth.text`), so that no caller has to think of it.
"""

from __future__ import annotations

from typing import ClassVar

from dth.text import printable


class DthError(Exception):
    """Root of all errors that dth raises on purpose."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    lines: ClassVar[bool] = False
    """Whether its message may have several lines: only where all of them are dth's own."""
    retryable: bool = False

    def __str__(self) -> str:
        return printable(super().__str__(), lines=self.lines)


class SettingsError(DthError):
    """A setting, URL or combination of them is wrong; the message names it and what is allowed."""

    code = "settings"
    exit_code = 2
    lines = True


class WrongJob(DthError):
    """This process was started with job settings that contradict those stored with the run."""

    code = "wrong_job"
    exit_code = 2


class RunUnderWay(DthError):
    """Another run of this job is still under way."""

    code = "run_under_way"
    exit_code = 0

    def __init__(self, message: str, run_id: str) -> None:
        super().__init__(message)
        self.run_id = run_id


class LeaseLost(DthError):
    """The lease on a run or an upload ended and somebody else may own it now."""

    code = "lease_lost"


class QueueError(DthError):
    """The queue failed, or kept refusing some messages; `failed` holds the ids that were not sent."""

    code = "queue"

    def __init__(self, message: str, failed: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.failed = failed


class LedgerError(DthError):
    """The ledger failed."""

    code = "ledger"


class QueueUnavailable(QueueError):
    """The queue cannot be reached, does not exist, or refuses these credentials."""

    code = "queue_unavailable"
    exit_code = 4


class LedgerUnavailable(LedgerError):
    """The ledger cannot be reached, does not exist, or refuses these credentials."""

    code = "ledger_unavailable"
    exit_code = 4


class DeletesRefused(DthError):
    """A guard (--max-delete, empty source, changed mapping) refused to delete."""

    code = "deletes_refused"
    exit_code = 3


class CostRefused(DthError):
    """The plan costs more than --max-cost allows."""

    code = "cost_refused"
    exit_code = 3


class RestoresFailed(DthError):
    """Restores that were asked for could not be requested for some objects; the rest of the run is whole."""

    code = "restores_failed"
    exit_code = 3


class ListingFailed(DthError):
    """A listing failed beyond its retries: the run is ABANDONED, nothing was concluded from the part that was read."""

    code = "listing_failed"
    exit_code = 3


class StartFailed(DthError):
    """A process or server that dth starts itself did not come up."""

    code = "start_failed"
    lines = True


class TransferError(DthError):
    """Moving one object failed for a reason that is not one request's."""

    code = "transfer"


class ObjectChanged(TransferError):
    """The source's generation is not the one that was planned; plan again."""

    code = "object_changed"


class BodyMismatch(TransferError):
    """Bytes moved do not add up to what the source promised (length or checksum)."""

    code = "body_mismatch"
    retryable = True


class ListedButAbsent(TransferError):
    """A store lists a key again and again, and says that it has no such object."""

    code = "listed_but_absent"
    retryable = True


class LeftOut(TransferError):
    """The source holds an object that its listing left out, and held it then: nothing is deleted on the word of that listing."""

    code = "left_out_of_the_listing"


class KeyRefused(TransferError):
    """The destination cannot hold this key, or would fold it into another."""

    code = "key_refused"


class ImageError(TransferError):
    """Moving one image failed for a reason that is not one request's."""

    code = "image"


class ManifestInvalid(ImageError):
    """The source's manifest is malformed, or of a kind that is not copied (Docker schema 1)."""

    code = "manifest_invalid"


class ManifestMissing(ImageError):
    """An image names a manifest or a blob that its own registry lacks."""

    code = "manifest_missing"


class TransportError(DthError):
    """No valid HTTP answer came. `sent` is False when not one byte of the request can have been processed."""

    code = "transport"
    retryable = True

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent


class ConnectFailed(TransportError):
    """No connection: name not found, refused, unreachable or connect timeout."""

    code = "connect_failed"
    exit_code = 4


class TlsFailed(TransportError):
    """Certificate or handshake refused. Trying again would not help."""

    code = "tls_failed"
    exit_code = 4
    retryable = False


class ProxyRefused(TransportError):
    """The proxy does not let us through. Trying again would not help."""

    code = "proxy_refused"
    exit_code = 4
    retryable = False


class TimedOut(TransportError):
    """The peer kept silent past the first-byte or the idle timeout."""

    code = "timed_out"


class ConnectionLost(TransportError):
    """The peer closed or reset the connection before the answer was whole."""

    code = "connection_lost"


class ProtocolViolation(TransportError):
    """The peer's HTTP does not add up (status line, headers, lengths, framing)."""

    code = "protocol_violation"


class StoreError(DthError):
    """An object store's answer that is not a success.

    `operation` is the S3 operation's name (`PutObject`), `status` the HTTP status (0 where there was none),
    `store_code` the store's own error code (`SlowDown`), `request_id` what its support asks for. `side` is whose store it
    was (`source`, `destination`), "" where that is not known.
    """

    code = "store"
    side: str = ""

    def __init__(
        self,
        message: str,
        *,
        operation: str = "",
        status: int = 0,
        store_code: str = "",
        request_id: str = "",
        retry_after: float | None = None,
        side: str = "",
    ) -> None:
        super().__init__(message)
        self.side = side
        self.operation = operation
        self.status = status
        self.store_code = store_code
        self.request_id = request_id
        self.retry_after = retry_after  # seconds, as the store asked


class NotFound(StoreError):
    """404 without a code that says what is missing (a HEAD has no body)."""

    code = "not_found"


class NoSuchBucket(NotFound):
    """The bucket does not exist there."""

    code = "no_such_bucket"
    exit_code = 4


class NoSuchKey(NotFound):
    """The object does not exist."""

    code = "no_such_key"


class NoSuchUpload(NotFound):
    """The multipart upload does not exist: completed, aborted or never made."""

    code = "no_such_upload"


class NoSuchImage(NotFound):
    """The source's registry has no image of that tag or digest."""


class AccessDenied(StoreError):
    """The credentials may not do this; the message names the action."""

    code = "access_denied"
    exit_code = 4


class RefusesAll(StoreError):
    """The store refused one object after another, for whatever reason, and has accepted none."""

    code = "refuses_all"
    exit_code = 4


class BadCredentials(StoreError):
    """The store does not accept these credentials at all."""

    code = "bad_credentials"
    exit_code = 4


class WrongRegion(StoreError):
    """The bucket lives elsewhere; `region` is what the store said, "" where it did not."""

    code = "wrong_region"
    exit_code = 4
    region: str = ""


class PreconditionFailed(StoreError):
    """412: the object is not the generation that was asked for, or exists already."""

    code = "precondition_failed"


class ConditionConflict(StoreError):
    """409 on a conditional write; on Complete it needs a new upload."""

    code = "condition_conflict"


class TagConflict(StoreError):
    """The destination's tag is immutable and holds another digest; the same request will be refused again."""

    code = "tag_conflict"


class Archived(StoreError):
    """The object lies in an archive class and must be restored first."""

    code = "needs_restore"


class Throttled(StoreError):
    """The store asks to slow down."""

    code = "throttled"
    retryable = True


class ServerFault(StoreError):
    """The store failed, or timed out on its side."""

    code = "server_fault"
    retryable = True


class DigestRefused(StoreError):
    """The store computed another checksum than the one sent with the bytes."""

    code = "digest_refused"
    retryable = True


class ListingBroken(StoreError):
    """A listing repeats, loops or ends without its end; nothing may be concluded from it."""

    code = "listing_broken"


class AnswerInvalid(StoreError):
    """A 2xx answer that holds an error, or lacks what it must hold."""

    code = "answer_invalid"
    retryable = True


class RequestRefused(StoreError):
    """Any other 4xx: the same request will be refused again."""

    code = "request_refused"
