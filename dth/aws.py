"""AWS's queue and ledger services through aioboto3: one gate for requests, retries and errors.

aioboto3 is imported where a client is opened: that takes longer than the rest of the start, and embedded runs don't need
it. Its own retries are off, because the adapters know which errors are answers.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any, Self
from urllib.parse import urlsplit

from dth.errors import (
    DthError,
    LedgerError,
    LedgerUnavailable,
    QueueError,
    QueueUnavailable,
)
from dth.partitions import partition_of, region_at
from dth.retry import RetryPolicy, retrying

PATIENCE = RetryPolicy(attempts=10, base_seconds=0.1, cap_seconds=8.0)
"""For throttling, conflicts and failures of the service: about half a minute in all."""

CONNECT_SECONDS = 10.0
READ_SECONDS = 45.0  # a long poll lasts 20
CONNECTIONS = 64

_RETRIED = frozenset({
    "InternalError", "InternalFailure", "InternalServerError", "ItemCollectionSizeLimitExceeded", "KmsThrottled",
    "LimitExceededException", "PriorRequestNotComplete", "ProvisionedThroughputExceeded",
    "ProvisionedThroughputExceededException", "RequestLimitExceeded", "RequestThrottled", "RequestThrottledException",
    "RequestTimeout", "RequestTimeoutException", "ReplicatedWriteConflictException", "ServiceUnavailable",
    "SlowDown", "ThrottledException", "Throttling", "ThrottlingError", "ThrottlingException",
    "TooManyRequestsException", "TransactionConflict", "TransactionConflictException",
    "TransactionInProgressException",
})  # fmt: skip
_CLOSED = frozenset({
    "AccessDenied", "AccessDeniedException", "AuthFailure", "ExpiredToken", "ExpiredTokenException",
    "IncompleteSignature", "InvalidAccessKeyId", "InvalidClientTokenId", "InvalidSignatureException",
    "MissingAuthenticationToken", "NonExistentQueue", "NotAuthorized", "OptInRequired", "QueueDoesNotExist",
    "ResourceNotFoundException", "SignatureDoesNotMatch", "UnrecognizedClientException",
})  # fmt: skip

_UNAVAILABLE: Mapping[type[DthError], type[DthError]] = {QueueError: QueueUnavailable, LedgerError: LedgerUnavailable}


class Refused(DthError):
    """The service refused with a code that the caller said it would understand. `reasons` are those of a cancelled
    transaction, one for each of its items ("None" for those that were fine)."""

    code = "refused"

    def __init__(self, message: str, service_code: str, reasons: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.service_code = service_code
        self.reasons = reasons


class Service:
    """A client of one service. Errors become `error` (or its Unavailable child), with what was asked and of what."""

    def __init__(self, name: str, client: Any, stack: AsyncExitStack, error: type[QueueError | LedgerError]) -> None:
        self._name = name
        self._client = client
        self._stack = stack
        self._error = error
        self.region = str(client.meta.region_name)

    @classmethod
    async def open(
        cls, service: str, name: str, *, region: str, endpoint: str, error: type[QueueError | LedgerError]
    ) -> Self:
        """A client of `service` (`sqs`, `dynamodb`), ambient credentials. `name` is what errors call it. Empty `region`
        and `endpoint`: the environment's and the configuration's (`AWS_REGION`, `AWS_ENDPOINT_URL_DYNAMODB`)."""
        from aioboto3 import Session  # noqa: PLC0415 - see above
        from aiobotocore.config import AioConfig  # noqa: PLC0415
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415

        config = AioConfig(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"total_max_attempts": 1},
            max_pool_connections=CONNECTIONS,
            tcp_keepalive=True,
        )
        stack = AsyncExitStack()
        try:
            made = Session().client(
                service,
                region_name=region or os.environ.get("AWS_REGION") or None,
                endpoint_url=endpoint or None,
                config=config,
            )
            return cls(name, await stack.enter_async_context(made), stack, error)
        except (BotoCoreError, ValueError) as exc:
            hint = "; set AWS_REGION or name a profile with a region" if "region" in str(exc).lower() else ""
            raise _UNAVAILABLE[error](f"{name}: {exc}{hint}") from exc

    async def call(self, operation: str, *, expected: tuple[str, ...] = (), **parameters: Any) -> dict[str, Any]:
        """The answer. Throttling, conflicts and failures are tried again with jitter; codes in `expected` are raised
        as Refused at once (of a cancelled transaction: where one of its items' reasons is such a code)."""

        async def once() -> dict[str, Any]:
            from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError  # noqa: PLC0415

            try:
                answer: dict[str, Any] = await getattr(self._client, operation)(**parameters)
            except ClientError as exc:
                raise self._refusal(operation, exc.response, expected) from exc
            except NoCredentialsError as exc:
                raise _UNAVAILABLE[self._error](f"{self._name}: {exc}; set AWS credentials or a role") from exc
            except (BotoCoreError, OSError, TimeoutError) as exc:
                error = _UNAVAILABLE[self._error](f"{self._name}: {operation}: {exc or type(exc).__name__}")
                error.retryable = True
                raise error from exc
            return answer

        return await retrying(once, PATIENCE)

    def _refusal(self, operation: str, response: Mapping[str, Any], expected: tuple[str, ...]) -> DthError:
        """The error of a refused request, from its code."""
        code = plain_code(str(response.get("Error", {}).get("Code", "")))
        text = f"{self._name}: {operation}: {code}: {response.get('Error', {}).get('Message', '')}"
        reasons = tuple(str(reason.get("Code", "None")) for reason in response.get("CancellationReasons", ()))
        known = [one for one in (code, *reasons) if one in expected]
        if known:
            return Refused(text, known[0], reasons)
        error = (_UNAVAILABLE[self._error] if code in _CLOSED else self._error)(text)
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        error.retryable = status >= 500 or bool(_RETRIED & {code, *reasons})  # noqa: PLR2004 - server errors
        return error

    async def close(self) -> None:
        """Close all connections. Repeating it is no error."""
        await self._stack.aclose()


def plain_code(code: str) -> str:
    """`AWS.SimpleQueueService.NonExistentQueue` and its kin without what stands before the name."""
    return code.rpartition(".")[2].rpartition("#")[2]


def queue_place(queue: str) -> tuple[str, str]:
    """(endpoint, region) of a queue's URL, ARN or name. The endpoint is "" where it is the region's public one or not said,
    the region where none is said: AWS's own settings decide then."""
    if queue.startswith("arn:"):
        return "", queue.split(":")[3]
    if "://" not in queue:
        return "", ""
    parts = urlsplit(queue)
    region = region_at(parts.hostname or "")
    public = region and parts.hostname == partition_of(region).host("sqs", region)
    return "" if public else f"{parts.scheme}://{parts.netloc}", region
