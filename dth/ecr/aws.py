"""AWS's own APIs beside the registry: ECR's lists and repositories, authorization tokens, Secrets Manager, SSM.

aioboto3 is imported when the first client is made: that takes longer than the rest of the start. Its errors are translated
here, from their codes.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dth.ecr.credentials import Login
from dth.errors import (
    AccessDenied,
    AnswerInvalid,
    BadCredentials,
    ConnectFailed,
    DthError,
    ListingBroken,
    NotFound,
    RequestRefused,
    ServerFault,
    SettingsError,
    Throttled,
)

_DENIED = {"AccessDeniedException", "AccessDenied", "UnauthorizedOperation"}
_BAD = {"UnrecognizedClientException", "InvalidSignatureException", "ExpiredTokenException", "InvalidClientTokenId"}
_SLOW = {"ThrottlingException", "TooManyRequestsException", "LimitExceededException", "RequestLimitExceeded"}
_MISSING = {
    "RepositoryNotFoundException", "ResourceNotFoundException", "ParameterNotFound", "ImageNotFoundException",
    "LifecyclePolicyNotFoundException",
}  # fmt: skip
_FAULT = 500


@dataclass(frozen=True, slots=True)
class AwsLogin:
    """Whose AWS we use: keys of a secret, or the ambient chain with a profile. `repr` shows no secret."""

    profile: str = ""
    access_key: str = ""
    secret_key: str = ""
    token: str | None = None

    def __repr__(self) -> str:
        return f"AwsLogin({self.profile or self.access_key or 'ambient'})"


class Aws:
    """Clients of one login and region. `requests` counts calls by name. `renewed` reads the login anew when it is refused:
    the secret that holds it may have been rotated."""

    def __init__(
        self, login: AwsLogin, region: str, *, renewed: Callable[[], Awaitable[AwsLogin]] | None = None
    ) -> None:
        self._login = login
        self._region = region
        self._renewed = renewed
        self._renewing = asyncio.Lock()
        self._stack = contextlib.AsyncExitStack()
        self._clients: dict[str, Any] = {}
        self.requests: Counter[str] = Counter()

    async def call(self, service: str, operation: str, **arguments: Any) -> dict[str, Any]:
        """One call, retried by botocore's own policy. `operation` is the API's own name."""
        login = self._login
        try:
            return await self._call(service, operation, arguments)
        except BadCredentials:
            if not await self._renew(login):
                raise
        return await self._call(service, operation, arguments)

    async def _renew(self, refused: AwsLogin) -> bool:
        """Whether there is another login than the one that was refused."""
        async with self._renewing:
            if self._login == refused and self._renewed:
                self._login = await self._renewed()
                if self._login != refused:
                    self._clients.clear()  # those in use by others stay open until `close`
            return self._login != refused

    async def _call(self, service: str, operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        client = await self.client(service)
        self.requests[operation] += 1
        with _translated(operation):
            method = getattr(client, _snake(operation))
            answer: dict[str, Any] = await method(**arguments)
            return answer

    async def pages(self, service: str, operation: str, field: str, **arguments: Any) -> AsyncIterator[Any]:
        """The entries of all pages of a listing. Raises ListingBroken for a page without a list, and for tokens that come again."""
        token: str | None = None
        seen: set[str] = set()
        while True:
            more = {"nextToken": token} if token else {}
            answer = await self.call(service, operation, **arguments, **more)
            entries = answer.get(field)
            if not isinstance(entries, list):
                raise ListingBroken(f"{operation}: the answer holds no {field}", operation=operation)
            for entry in entries:
                yield entry
            token = answer.get("nextToken")
            if not token:
                return
            if token in seen:
                raise ListingBroken(f"{operation}: its pages go in a circle", operation=operation)
            seen.add(token)

    async def client(self, service: str) -> Any:
        """The client of a service, made when first asked for."""
        if service not in self._clients:
            import botocore.exceptions  # noqa: PLC0415 - costly, and needed only here
            from aioboto3 import Session  # noqa: PLC0415
            from aiobotocore.config import AioConfig  # noqa: PLC0415

            try:
                session = Session(profile_name=self._login.profile or None)
                maker = session.client(
                    service,
                    region_name=self._region or None,
                    aws_access_key_id=self._login.access_key or None,
                    aws_secret_access_key=self._login.secret_key or None,
                    aws_session_token=self._login.token,
                    config=AioConfig(retries={"mode": "standard", "max_attempts": 5}),
                )
                self._clients[service] = await self._stack.enter_async_context(maker)
            except botocore.exceptions.ProfileNotFound as exc:
                raise SettingsError(f"the profile {self._login.profile!r} is not in the AWS configuration") from exc
            except botocore.exceptions.NoRegionError as exc:
                raise SettingsError("no region: set --src-region and --dest-region, or AWS_REGION") from exc
        return self._clients[service]

    async def close(self) -> None:
        """Close all clients."""
        await self._stack.aclose()

    # What the engine asks

    async def registry_login(self) -> tuple[Login, float, str]:
        """ECR's user and password, their end (seconds since the epoch), and the registry's address."""
        answer = await self.call("ecr", "GetAuthorizationToken")
        try:
            one = answer["authorizationData"][0]
            user, _, password = base64.b64decode(one["authorizationToken"]).decode("ascii").partition(":")
            until = one["expiresAt"]
            seconds = until.timestamp() if isinstance(until, datetime) else float(until)
            return Login(user, password), seconds, str(one["proxyEndpoint"])
        except (KeyError, IndexError, TypeError, ValueError, OverflowError) as exc:
            raise AnswerInvalid("GetAuthorizationToken: the answer holds no login") from exc

    async def endpoint(self, service: str) -> str:
        """Where calls go: an emulator's address where the environment names one."""
        return str((await self.client(service)).meta.endpoint_url)

    async def secret(self, name: str) -> Mapping[str, str]:
        """A secret's fields. Raises SettingsError where it is no JSON object; NotFound and the like as the service does."""
        answer = await self.call("secretsmanager", "GetSecretValue", SecretId=name)
        try:
            fields = json.loads(answer.get("SecretString") or "")
        except ValueError:
            fields = None
        if not isinstance(fields, dict):
            raise SettingsError(
                f"the secret {name!r} is no JSON object; it holds access_key_id and secret_access_key, or username and "
                "password"
            )
        return {str(key): str(value) for key, value in fields.items()}

    async def parameter(self, name: str) -> str:
        """An SSM parameter's text."""
        answer = await self.call("ssm", "GetParameter", Name=name, WithDecryption=True)
        return str(answer["Parameter"]["Value"])


def login_of(fields: Mapping[str, str], name: str) -> AwsLogin | Login:
    """What a secret's fields are: AWS keys, or a registry's user and password."""
    if fields.get("access_key_id") and fields.get("secret_access_key"):
        return AwsLogin("", fields["access_key_id"], fields["secret_access_key"], fields.get("session_token") or None)
    if fields.get("username") and fields.get("password"):
        return Login(fields["username"], fields["password"])
    raise SettingsError(
        f"the secret {name!r} holds neither access_key_id and secret_access_key nor username and password"
    )


def _snake(operation: str) -> str:
    import botocore  # noqa: PLC0415

    return str(botocore.xform_name(operation))


@contextlib.contextmanager
def _translated(operation: str) -> Any:
    import botocore.exceptions as foreign  # noqa: PLC0415

    try:
        yield
    except foreign.ClientError as exc:
        raise _error(operation, exc.response) from exc
    except (foreign.NoCredentialsError, foreign.PartialCredentialsError, foreign.CredentialRetrievalError) as exc:
        raise BadCredentials(f"{operation}: no AWS credentials found; name a profile or a secret") from exc
    except (foreign.EndpointConnectionError, foreign.HTTPClientError) as exc:
        raise ConnectFailed(f"{operation}: {exc}", sent=False) from exc
    except foreign.BotoCoreError as exc:
        raise RequestRefused(f"{operation}: {exc}", operation=operation) from exc


def _error(operation: str, response: Mapping[str, Any]) -> DthError:
    said = response.get("Error", {})
    code = str(said.get("Code", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    kinds = ((_DENIED, AccessDenied), (_BAD, BadCredentials), (_SLOW, Throttled), (_MISSING, NotFound))
    kind = next((error for codes, error in kinds if code in codes), ServerFault if status >= _FAULT else RequestRefused)
    text = str(said.get("Message", ""))[:300]
    return kind(f"{operation}: {code}: {text}", operation=operation, status=status, store_code=code)
