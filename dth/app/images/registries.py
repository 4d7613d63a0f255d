"""The registries of an image job: addresses, logins, AWS clients, catalogs."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import re
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from dth.ecr.aws import Aws, AwsLogin, login_of
from dth.ecr.catalog import Catalog, EcrCatalog, RegistryCatalog
from dth.ecr.credentials import DockerLogin, ExpiringLogin, FixedLogin, Login, LoginSource, SecretLogin
from dth.ecr.reference import DOCKER_HUB
from dth.ecr.registry import Registry
from dth.ecr.web import Web, host_text, parse_origin
from dth.errors import SettingsError
from dth.partitions import DUAL_STACK, SUFFIXES, partition_at
from dth.retry import RetryPolicy
from dth.settings import ImageJob
from dth.states import Side
from dth.transport.base import Origin, Timeouts
from dth.transport.pace import Pace

RETRY = RetryPolicy(attempts=5, base_seconds=0.2, cap_seconds=20.0)
"""Of one request. What outlasts it is the image's to retry."""
CONNECTIONS = 64  # to one origin

_ECR_DOMAINS = (*SUFFIXES, *(re.sub("^api", "on", domain) for domain in DUAL_STACK))
ECR_HOST = re.compile(
    rf"([0-9]{{12}})\.dkr[.-]ecr(?:-fips)?\.([a-z0-9-]+)\.(?:{'|'.join(map(re.escape, _ECR_DOMAINS))})"
)
PUBLIC_ECR = "public.ecr.aws"
"""Anyone may read it, like any other registry. Its own API for logins and repositories is not spoken here."""
_HUB_HOST = "registry-1.docker.io"


@dataclass(slots=True)
class Place:
    """One side of a job. `aws` is set where it is ECR; `account_id` is "" for the current account."""

    registry: Registry
    catalog: Catalog
    aws: Aws | None = None
    account_id: str = ""


@dataclass(slots=True)
class Opener:
    """Opens registries of one job, and closes all that it opened."""

    job: ImageJob
    web: Web
    places: list[Place] = field(default_factory=list)
    stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    async def source(self, named: str) -> Place:
        """A registry to read from; `named` where an image names its own, "" for the job's."""
        job = self.job
        own = self.owns(named)
        return await self._open(Side.SOURCE, named or self._own(), job.src_account_id, job.src_region, own=own)

    def owns(self, named: str) -> bool:
        """Whether that source is the job's own registry, to which its credentials belong: no other is shown them."""
        own = self._own()
        return not named or (bool(own) and self._origin(named) == self._origin(own))

    def _own(self) -> str:
        """The job's own source; "" for ECR of its account and region."""
        return self.job.src_registry or (DOCKER_HUB if self.job.source_type == "Public" else "")

    async def destination(self) -> Place:
        """The registry to write to."""
        job = self.job
        return await self._open(Side.DESTINATION, job.dest_registry, job.dest_account_id, job.dest_region, own=True)

    async def _open(self, side: Side, address: str, account_id: str, region: str, *, own: bool) -> Place:
        ecr = ECR_HOST.fullmatch(address)
        if not address or ecr:
            place = await self._ecr(side, *(ecr.group(1, 2) if ecr else (account_id, region)), own=own)
        else:
            place = await self._plain(side, address, own=own)
        self.places.append(place)
        return place

    def _named(self, side: Side) -> tuple[str, str]:
        job = self.job
        if side is Side.SOURCE:
            return job.src_credentials, job.src_profile
        return job.dest_credentials, job.dest_profile

    async def _secret(self, side: Side, region: str) -> AwsLogin | Login | None:
        """What the side's credentials setting names; None where it names nothing, or nobody (`anonymous`)."""
        name, _ = self._named(side)
        if not name or name == "anonymous":
            return None
        ambient = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or region
        async with contextlib.aclosing(_Closing(Aws(AwsLogin(), ambient))) as closing:
            return login_of(await closing.aws.secret(name), name)

    async def _keys(self, side: Side, region: str) -> AwsLogin:
        found = await self._secret(side, region)
        if isinstance(found, AwsLogin):
            return found
        raise SettingsError(f"the secret {self._named(side)[0]!r} holds no AWS keys any more; ECR needs them")

    async def _user(self, side: Side) -> Login:
        found = await self._secret(side, "")
        if isinstance(found, Login):
            return found
        raise SettingsError(f"the secret {self._named(side)[0]!r} holds no username and password any more")

    async def _ecr(self, side: Side, account_id: str, region: str, *, own: bool) -> Place:
        """AWS's keys serve every ECR of the side: they sign, and never travel."""
        name, profile = self._named(side)
        if name == "anonymous":
            raise SettingsError(f"{side.value}: ECR lets nobody in anonymously; public.ecr.aws does (src_registry)")
        found = await self._secret(side, region)
        if isinstance(found, Login) and not own:
            found = None
        if isinstance(found, Login):
            raise SettingsError(f"the secret {name!r} holds a user and a password; ECR needs AWS keys")
        aws = Aws(
            found or AwsLogin(profile), region, renewed=functools.partial(self._keys, side, region) if found else None
        )
        self.stack.push_async_callback(aws.close)

        async def fetch() -> tuple[Login, float]:
            login, until, _ = await aws.registry_login()
            return login, until

        login, until, address = await aws.registry_login()
        host = parse_origin(address).host
        if account_id:
            host = f"{account_id}.{host.partition('.')[2]}"
        origin = await _stand_in(aws) or Origin("https", host, 443)
        source = ExpiringLogin(fetch, first=(login, until))
        registry = Registry(host, origin, self.web, source, side=side, retry=RETRY, host=host)
        return Place(registry, EcrCatalog(aws, account_id), aws, account_id)

    async def _plain(self, side: Side, address: str, *, own: bool) -> Place:
        origin = self._origin(address)
        name = host_text(origin)
        found = await self._secret(side, "") if own else None
        if isinstance(found, AwsLogin):
            raise SettingsError(f"the {side.value}'s secret holds AWS keys; {name} needs username and password")
        source: LoginSource = DockerLogin(name, os.environ)
        if found is not None:
            source = SecretLogin(found, functools.partial(self._user, side))
        elif self._named(side)[0] == "anonymous":
            source = FixedLogin(None)
        if side is Side.DESTINATION and name == PUBLIC_ECR and await source.get() is None:
            raise SettingsError(
                f"dth fetches no login for {PUBLIC_ECR} and makes no repositories there: make them, then let docker log in (aws "
                f"ecr-public get-login-password --region us-east-1 | docker login -u AWS --password-stdin {PUBLIC_ECR})"
            )
        if name == DOCKER_HUB:
            origin = Origin(origin.scheme, _HUB_HOST, origin.port)
        registry = Registry(name, origin, self.web, source, side=side, retry=RETRY)
        return Place(registry, RegistryCatalog(registry))

    def _origin(self, address: str) -> Origin:
        """Plain HTTP only where `http://` was written, in the address or in insecure_registry."""
        if "://" not in address and f"http://{address}" in self.job.insecure_registry:
            address = f"http://{address}"
        return parse_origin(address)

    def requests(self, side: Side) -> dict[str, int]:
        """What was asked of a side, by operation."""
        total: Counter[str] = Counter()
        for place in self.places:
            if place.registry.side is side:
                total.update(place.registry.requests)
                if place.aws is not None:
                    total.update(place.aws.requests)
        return dict(total)

    def retries(self, side: Side) -> dict[str, int]:
        """How often the registries of a side asked to slow down."""
        throttled = sum(place.registry.throttled for place in self.places if place.registry.side is side)
        return {"throttled": throttled} if throttled else {}


class _Closing:
    def __init__(self, aws: Aws) -> None:
        self.aws = aws

    async def aclose(self) -> None:
        await self.aws.close()


async def _stand_in(aws: Aws) -> Origin | None:
    """An emulator's address, where ECR's API is not AWS's own: it serves the registry at the same place."""
    origin = parse_origin(await aws.endpoint("ecr"))
    return None if partition_at(origin.host) else origin


@contextlib.asynccontextmanager
async def open_registries(job: ImageJob, pace: Pace | None = None) -> AsyncIterator[Opener]:
    """An opener whose registries are closed at the end. What they answer keeps to `pace`, or to the job's bandwidth."""
    web = Web(
        timeouts=Timeouts(job.connect_seconds, job.first_byte_seconds, job.idle_seconds),
        ca_bundle=job.ca_bundle,
        unverified=frozenset(one for one in job.insecure_registry if "://" not in one),
        max_connections=CONNECTIONS,
        pace=pace or (Pace(job.bandwidth) if job.bandwidth else None),
    )
    opener = Opener(job, web)
    try:
        yield opener
    finally:
        await asyncio.shield(_close(opener))


async def _close(opener: Opener) -> None:
    await opener.stack.aclose()
    await opener.web.close()
