"""The queue of a fleet: an SQS standard queue and its dead-letter queue.

Every batch call answers for each entry; those that the service failed are sent again, those that it refuses are named.
A receipt that has lapsed may still act on the message in the hands of another, so this side never uses one: what it
knows to be over by its own clock is left alone, and comes back as one delivery more.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self

from dth.aws import PATIENCE, Refused, Service, queue_place
from dth.errors import QueueError, QueueUnavailable
from dth.queues.base import DeadLetter, Delivery, QueueDepth, worn_out

BATCH = 10  # entries of any batch call, and messages of a receive
LONGEST_WAIT_SECONDS = 20
LONGEST_DELAY_SECONDS = 43_200
DEAD_SUFFIX = "-dead"  # the dead-letter queue's name, where no redrive policy says another
DEAD_LEASE_SECONDS = 120  # how long a dead letter that is being looked at is hidden from others
OVER_LIMIT_SECONDS = 2.0  # about 120,000 messages are in flight: nobody gets more until some are done
REASON_BYTES = 1024
NO_REASON = "delivered again and again and never finished"  # moved by the queue itself
_GONE = ("NonExistentQueue", "QueueDoesNotExist")
_ROUNDS = 8  # tries of an entry that the service keeps failing
_FOREIGN_CHARACTERS = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # SQS takes XML 1.0's only

Entry = dict[str, Any]


class SqsQueue:
    """A standard queue by its URL. Leases are whole seconds; depths are the service's estimates.

    Its redrive policy moves messages that were received too often; where that takes more than `receive_limit` receives, or
    there is none, this side does it.
    """

    def __init__(
        self,
        service: Service,
        url: str,
        dead_url: str,
        *,
        lease_seconds: float,
        message_bytes: int,
        receive_limit: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._service = service
        self._url = url
        self._dead_url = dead_url
        self._lease_seconds = math.ceil(lease_seconds)
        self._message_bytes = message_bytes
        self._receive_limit = receive_limit
        self._clock = clock
        self._until: dict[str, float] = {}  # leases that this handle holds, by receipt; gone once they are over
        self._looked_at: dict[str, float] = {}  # dead letters that this handle hides, by receipt, and until when
        self._closed = False

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        lease_seconds: float,
        message_bytes: int,
        receive_limit: int,
        region: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> Self:
        """The queue at `url`, which may be its ARN or name as well: then its URL is looked up. Raises QueueUnavailable where it, or its dead-letter queue, cannot be used: the latter is
        the one of its redrive policy, else the one called like it with `-dead`."""
        if url.endswith(".fifo"):
            raise QueueUnavailable(f"{url} is a FIFO queue: dth needs a standard one, see `dth init`")
        endpoint, own_region = queue_place(url)
        service = await Service.open(
            "sqs", f"queue {url}", region=own_region or region, endpoint=endpoint, error=QueueError
        )
        try:
            if "://" not in url:
                url = await _url_of(service, url)
            answer = await service.call("get_queue_attributes", QueueUrl=url, AttributeNames=["All"])
            attributes = answer.get("Attributes", {})
            dead_url = await _dead_url(service, url, attributes)
        except BaseException:
            await service.close()
            raise
        # 256 KiB was every queue's largest message before 1 MiB came.
        largest = int(attributes.get("MaximumMessageSize", 262_144))
        message_bytes = min(message_bytes, largest)
        return cls(
            service,
            url,
            dead_url,
            lease_seconds=lease_seconds,
            message_bytes=message_bytes,
            receive_limit=receive_limit,
            clock=clock,
        )

    @property
    def region(self) -> str:
        """Where it is."""
        return self._service.region

    @property
    def message_bytes(self) -> int:
        """Largest body, and largest sum of a batch."""
        return self._message_bytes

    async def send(self, bodies: Sequence[str]) -> None:
        """All bodies, in batches of ten and `message_bytes`. What cannot be a message (too large, characters that SQS
        does not take) is left out and named by a QueueError whose `failed` holds its positions; the rest was sent."""
        refused = {index: why for index, body in enumerate(bodies) if (why := self._refusal(body))}
        entries = [{"Id": str(index), "MessageBody": body} for index, body in enumerate(bodies) if index not in refused]
        trouble: QueueError | None = None
        for batch in self._batches(entries):
            try:
                failed = await self._each("send_message_batch", self._url, batch) if trouble is None else batch
            except QueueError as error:
                trouble, failed = error, [entry for entry in batch if entry["Id"] in (error.failed or [entry["Id"]])]
            for entry in failed:
                why = str(trouble) if trouble else f"was refused: {entry.get('Code')}: {entry.get('Message', '')}"
                refused[int(entry["Id"])] = why
        if refused:
            position, why = next(iter(refused.items()))
            raise QueueError(
                f"queue {self._url}: {len(refused)} of {len(bodies)} messages were not sent; number {position} {why}",
                failed=tuple(map(str, refused)),
            ) from trouble

    async def receive(self, limit: int, wait_seconds: float) -> list[Delivery]:
        """Up to `limit` messages, ten at most, by one long poll of whole seconds. Where too many messages are in flight,
        none, after a pause."""
        if limit <= 0:
            return []
        try:
            answer = await self._service.call(
                "receive_message",
                expected=("OverLimit",),
                QueueUrl=self._url,
                MaxNumberOfMessages=min(limit, BATCH),
                WaitTimeSeconds=min(math.ceil(wait_seconds), LONGEST_WAIT_SECONDS),
                VisibilityTimeout=self._lease_seconds,
                MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
            )
        except Refused:
            await asyncio.sleep(OVER_LIMIT_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311
            return []
        deliveries = [
            Delivery(
                body=message["Body"],
                receipt=message["ReceiptHandle"],
                deliveries=int(message.get("Attributes", {}).get("ApproximateReceiveCount", 1)),
                leased_at=time.monotonic(),
                lease_seconds=float(self._lease_seconds),
                name=message["MessageId"],
                sent_at=int(message.get("Attributes", {}).get("SentTimestamp", 0)) / 1000,
            )
            for message in answer.get("Messages", ())
        ]
        until = self._clock() + self._lease_seconds
        self._until |= {each.receipt: until for each in deliveries}
        worn = [each for each in deliveries if each.deliveries > self._receive_limit]
        if not worn:
            return deliveries
        with contextlib.suppress(QueueError):  # they come again, and with them the next try
            await self.bury([(each.body, worn_out(self._receive_limit)) for each in worn])
            await self.ack(worn)
        return [each for each in deliveries if each not in worn]

    async def extend(self, deliveries: Sequence[Delivery], lease_seconds: float) -> list[Delivery]:
        """Let the leases run `lease_seconds` from now. Returns those that are over: by this side's clock, or refused by
        the service. Raises QueueError where the service fails."""
        held = {str(index): each for index, each in enumerate(deliveries)}
        lost = {name for name, each in held.items() if self._lapsed(each)}
        seconds = min(math.ceil(lease_seconds), LONGEST_DELAY_SECONDS)
        until = self._clock() + lease_seconds
        entries = [self._visibility(name, each, seconds) for name, each in held.items() if name not in lost]
        for batch in self._batches(entries):
            refused = await self._each("change_message_visibility_batch", self._url, batch)
            lost |= {entry["Id"] for entry in refused}
        for name, each in held.items():
            if name in lost:
                self._until.pop(each.receipt, None)
            else:
                self._until[each.receipt] = until
        return [each for name, each in held.items() if name in lost]

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Remove the messages whose leases are not over."""
        held = [each for each in deliveries if not self._lapsed(each)]
        entries = [{"Id": str(index), "ReceiptHandle": each.receipt} for index, each in enumerate(held)]
        for batch in self._batches(entries):
            await self._each("delete_message_batch", self._url, batch)
        self._forget(deliveries)

    async def release(self, deliveries: Sequence[Delivery], delay_seconds: float = 0.0) -> None:
        """Give back those whose leases are not over."""
        seconds = min(math.ceil(delay_seconds), LONGEST_DELAY_SECONDS)
        held = [each for each in deliveries if not self._lapsed(each)]
        for batch in self._batches([self._visibility(str(index), each, seconds) for index, each in enumerate(held)]):
            await self._each("change_message_visibility_batch", self._url, batch)
        self._forget(deliveries)

    async def bury(self, bodies: Sequence[tuple[str, str]]) -> None:
        """Put (body, reason) pairs into the dead-letter queue, the reason as a message attribute."""
        entries: list[Entry] = []
        for index, (body, reason) in enumerate(bodies):
            text = _sendable(reason)[:REASON_BYTES] or NO_REASON
            attributes = {"reason": {"DataType": "String", "StringValue": text}}
            entry: Entry = {"Id": str(index), "MessageBody": _sendable(body) or " ", "MessageAttributes": attributes}
            entries.append(entry)
        for batch in self._batches(entries):
            if refused := await self._each("send_message_batch", self._dead_url, batch):
                raise QueueError(
                    f"queue {self._dead_url}: {len(refused)} dead letters were refused: {refused[0].get('Code')}: "
                    f"{refused[0].get('Message', '')}"
                )

    async def dead_letters(self, limit: int) -> list[DeadLetter]:
        """Up to `limit` dead letters that nobody looks at; hidden from others until forgotten, for
        `DEAD_LEASE_SECONDS`, or until this handle is closed."""
        letters: list[DeadLetter] = []
        while len(letters) < limit:
            answer = await self._service.call(
                "receive_message",
                QueueUrl=self._dead_url,
                MaxNumberOfMessages=min(limit - len(letters), BATCH),
                WaitTimeSeconds=1,
                VisibilityTimeout=DEAD_LEASE_SECONDS,
                MessageAttributeNames=["reason"],
            )
            messages = answer.get("Messages", ())
            until = time.monotonic() + DEAD_LEASE_SECONDS
            for message in messages:
                reason = message.get("MessageAttributes", {}).get("reason", {}).get("StringValue", NO_REASON)
                letters.append(DeadLetter(message["Body"], reason, message["ReceiptHandle"]))
                self._looked_at[message["ReceiptHandle"]] = until
            if not messages:
                break
        return letters

    async def forget(self, letters: Sequence[DeadLetter]) -> None:
        """Remove dead letters. One that is gone already is no error."""
        entries = [{"Id": str(index), "ReceiptHandle": letter.receipt} for index, letter in enumerate(letters)]
        for batch in self._batches(entries):
            await self._each("delete_message_batch", self._dead_url, batch)
        for letter in letters:
            self._looked_at.pop(letter.receipt, None)

    async def depth(self) -> QueueDepth:
        """The service's estimates; a delayed message counts as visible, a dead letter being looked at as dead."""
        names = ("", "NotVisible", "Delayed")
        asked = [f"ApproximateNumberOfMessages{name}" for name in names]
        answers = await asyncio.gather(
            *(
                self._service.call("get_queue_attributes", QueueUrl=url, AttributeNames=asked)
                for url in (self._url, self._dead_url)
            )
        )
        here, dead = ([int(answer.get("Attributes", {}).get(name, 0)) for name in asked] for answer in answers)
        return QueueDepth(visible=here[0] + here[2], leased=here[1], dead=sum(dead), exact=False)

    async def close(self) -> None:
        """Show the dead letters again that were only looked at; close all connections."""
        if self._closed:
            return
        self._closed = True
        try:
            shown = [receipt for receipt, until in self._looked_at.items() if until > time.monotonic()]
            entries = [
                {"Id": str(index), "ReceiptHandle": receipt, "VisibilityTimeout": 0}
                for index, receipt in enumerate(shown)
            ]
            with contextlib.suppress(QueueError):  # they show by themselves soon
                for batch in self._batches(entries):
                    await self._each("change_message_visibility_batch", self._dead_url, batch)
        finally:
            await self._service.close()

    # Batches

    def _batches(self, entries: Sequence[Entry]) -> Iterator[list[Entry]]:
        """Ten entries and `message_bytes` at most; a single one may be larger (a dead letter with its reason)."""
        batch: list[Entry] = []
        size = 0
        for entry in entries:
            weight = _weight(entry)
            if batch and (len(batch) >= BATCH or size + weight > self._message_bytes):
                yield batch
                batch, size = [], 0
            batch.append(entry)
            size += weight
        if batch:
            yield batch

    async def _each(self, operation: str, url: str, batch: Sequence[Entry]) -> list[Entry]:
        """The entries that the service refuses for what they are. Those that it failed are sent again; raises QueueError
        where it keeps failing them."""
        left = list(batch)
        refused: list[Entry] = []
        for tried in range(1, _ROUNDS + 1):
            answer = await self._service.call(operation, QueueUrl=url, Entries=left)
            failed: Mapping[str, Entry] = {entry["Id"]: entry for entry in answer.get("Failed", ())}
            refused += [entry for entry in failed.values() if entry.get("SenderFault")]
            left = [entry for entry in left if entry["Id"] in failed and not failed[entry["Id"]].get("SenderFault")]
            if not left:
                return refused
            await asyncio.sleep(PATIENCE.wait_seconds(tried, None))
        example = failed[left[0]["Id"]]
        raise QueueError(
            f"queue {url}: {operation} kept failing for {len(left)} messages: {example.get('Code')}: "
            f"{example.get('Message', '')}",
            failed=tuple(entry["Id"] for entry in left),
        )

    def _refusal(self, body: str) -> str:
        """Why this cannot be a message, "" where it can."""
        if not body or _FOREIGN_CHARACTERS.search(body):
            return "is empty" if not body else "holds characters that SQS does not take"
        size = len(body) if body.isascii() else len(body.encode())
        return f"has {size} bytes, {self._message_bytes} are allowed" if size > self._message_bytes else ""

    # Leases

    def _lapsed(self, delivery: Delivery) -> bool:
        return self._clock() >= self._until.get(delivery.receipt, -math.inf)

    def _forget(self, deliveries: Sequence[Delivery]) -> None:
        for each in deliveries:
            self._until.pop(each.receipt, None)

    @staticmethod
    def _visibility(name: str, delivery: Delivery, seconds: int) -> Entry:
        return {"Id": name, "ReceiptHandle": delivery.receipt, "VisibilityTimeout": seconds}


def _weight(entry: Entry) -> int:
    """Bytes that count towards a batch."""
    reason = entry.get("MessageAttributes", {}).get("reason", {}).get("StringValue", "")
    texts = len(entry.get("MessageBody", "").encode()) + len(reason.encode())
    return texts + (len("reasonString") if reason else 0)


def _sendable(text: str) -> str:
    """The text with escapes for what SQS does not take."""
    return _FOREIGN_CHARACTERS.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


async def _url_of(service: Service, queue: str) -> str:
    """The URL of a queue's ARN or name."""
    *_, account, name = ["", *queue.split(":")]
    owner = {"QueueOwnerAWSAccountId": account} if account else {}
    try:
        answer = await service.call("get_queue_url", expected=_GONE, QueueName=name, **owner)
    except Refused as error:
        where = f" in {service.region}" if service.region else ""
        raise QueueUnavailable(
            f"there is no queue {queue}{where}: `dth init {name}` makes one; AWS_REGION and AWS_PROFILE say where to look"
        ) from error
    return str(answer["QueueUrl"])


async def _dead_url(service: Service, url: str, attributes: Mapping[str, str]) -> str:
    base, _, own_name = url.rpartition("/")
    name, account = own_name + DEAD_SUFFIX, None
    if policy := attributes.get("RedrivePolicy"):
        *_, account, name = json.loads(policy)["deadLetterTargetArn"].split(":")
        own_account = base.rpartition("/")[2]
        if own_account == attributes.get("QueueArn", "").split(":")[-2:][0]:  # as AWS writes its URLs
            return f"{base[: -len(own_account)]}{account}/{name}"  # which spares sqs:GetQueueUrl
    owner = {"QueueOwnerAWSAccountId": account} if account else {}
    try:
        answer = await service.call("get_queue_url", expected=_GONE, QueueName=name, **owner)
    except Refused as error:
        raise QueueUnavailable(
            f"queue {url} has no dead-letter queue: neither a redrive policy nor a queue {name}; `dth init` makes both"
        ) from error
    return str(answer["QueueUrl"])
