"""A running S3 server as tests see it, whatever it is."""

import itertools
import secrets
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config
from botocore.handlers import add_expect_header

_numbers = itertools.count(1)
_session = secrets.token_hex(3)  # a kept server holds buckets of earlier runs


@dataclass(frozen=True, slots=True)
class Account:
    """One owner of buckets."""

    access_key: str
    secret_key: str


@dataclass(frozen=True, slots=True)
class S3Server:
    """Where it listens and how to get in. `second` is another account, "b", where the server has accounts.

    Clients are kept per account and closed with the server: an unclosed socket is a warning, and warnings are errors.
    """

    kind: str
    endpoint: str
    access_key: str
    secret_key: str
    region: str = "us-east-1"
    second: Account | None = None
    _clients: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def account(self, name: str = "a") -> Account:
        """`a` or `b`."""
        if name == "a":
            return Account(self.access_key, self.secret_key)
        assert name == "b"
        assert self.second is not None, f"{self.kind} has one account"
        return self.second

    def client(self, account: str = "a") -> Any:
        """A boto3 client, path style, with retries, safe to share between threads; the same one for each account."""
        if account not in self._clients:
            who = self.account(account)
            client = boto3.session.Session().client(
                "s3",
                endpoint_url=self.endpoint,
                region_name=self.region,
                aws_access_key_id=who.access_key,
                aws_secret_access_key=who.secret_key,
                config=Config(
                    s3={"addressing_style": "path"},
                    retries={"mode": "standard", "max_attempts": 6},
                    max_pool_connections=64,
                    connect_timeout=10,
                    read_timeout=20,
                    request_checksum_calculation="when_required",  # else boto3 sends aws-chunked trailers
                    response_checksum_validation="when_required",
                ),
            )
            # SeaweedFS 4.48 now and then never answers a PUT that came with `Expect: 100-continue`.
            client.meta.events.unregister("before-call.s3", add_expect_header)
            self._clients[account] = client
        return self._clients[account]

    def make_bucket(self, account: str = "a", label: str = "t") -> str:
        """A new, empty bucket, whose name no test had before."""
        name = f"{label}-{_session}-{next(_numbers)}"
        client = self.client(account)
        client.create_bucket(Bucket=name)
        if self.kind == "seaweed":  # many first writes at once may hang while it grows the bucket's first volumes
            client.put_object(Bucket=name, Key="warm", Body=b"x")
            client.delete_object(Bucket=name, Key="warm")
        return name

    def credentials_file(self) -> str:
        """An AWS credentials file with a profile for each account: `a` (also `default`) and `b`."""
        lines = []
        for profile in ("default", "a") + (("b",) if self.second else ()):
            who = self.account("b" if profile == "b" else "a")
            lines += [f"[{profile}]", f"aws_access_key_id = {who.access_key}"]
            lines += [f"aws_secret_access_key = {who.secret_key}", ""]
        return "\n".join(lines)

    def close(self) -> None:
        """Close the clients, not the server."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()
