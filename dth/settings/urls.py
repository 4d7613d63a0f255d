"""`s3://bucket/prefix`, and endpoints; errors that teach."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple
from urllib.parse import urlsplit

from dth.errors import SettingsError

BUCKET_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._:-]{1,253}[A-Za-z0-9]"
BUCKET_RULE = "3 to 255 letters, digits, dots, dashes, colons or underscores"
"""Wider than AWS's rule: other stores and old buckets have capitals, underscores and tenants (`tenant:bucket`)."""

_BUCKET = re.compile(BUCKET_PATTERN)
_QUERY = re.compile(r"\?[A-Za-z][\w-]*=")
_CREDENTIALS = re.compile(r"//[^/@]*@")
_LOCAL = re.compile(r"[.]{0,2}/|[.]{1,2}$|~|[A-Za-z]:[\\/]")  # ./folder, /folder, ~/folder, C:\folder


METRICS_PATTERN = r"^$|^(?:(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]*):)?[0-9]{1,5}$"
METRICS_RULE = "HOST:PORT such as 127.0.0.1:9464, or a port alone"


class S3Url(NamedTuple):
    """Bucket and key prefix; the prefix is raw text, nothing in it is decoded."""

    bucket: str
    prefix: str


def redacted(text: str) -> str:
    """The text without a user or password in its URLs."""
    return _CREDENTIALS.sub("//...@", text)


def parse_s3_url(text: str) -> S3Url:
    """Bucket and prefix of `s3://bucket/prefix`. Raises SettingsError that says what such a URL looks like."""
    scheme, mark, rest = text.partition("://")
    shown = redacted(text)
    example = "a location looks like s3://bucket or s3://bucket/prefix"
    if scheme == "file" or (not mark and _LOCAL.match(text)):
        raise SettingsError(
            f"{shown!r} is a place on this machine: dth copies between stores; local files come in a later version. Until then "
            "`aws s3 sync` or `rclone sync` copies a folder to or from a bucket, and `rclone serve s3 FOLDER` makes it a store "
            "with an endpoint"
        )
    if not mark:
        hint = f"; did you mean s3://{shown}?" if _BUCKET.fullmatch(text.partition("/")[0]) else ""
        raise SettingsError(f"{shown!r} is no S3 URL: {example}{hint}")
    if scheme in {"http", "https"}:
        raise SettingsError(
            f"{shown!r} is a web address: {example}; give the server with --src-endpoint or --dest-endpoint"
        )
    if scheme != "s3":
        raise SettingsError(
            f"{shown!r}: the scheme {scheme!r} is not known: {example}, whatever the provider; name another provider "
            "with --src-endpoint and --src-type, or --dest-endpoint and --dest-type"
        )
    bucket, _, prefix = rest.partition("/")
    if not bucket:
        raise SettingsError(f"{shown!r} names no bucket: {example}")
    if "@" in bucket:
        raise SettingsError(f"{shown!r}: credentials do not belong into a location; see --src-credentials")
    if _QUERY.search(rest):
        raise SettingsError(
            f"{shown!r}: a location takes no query; regions, endpoints and the like are options such as --src-region"
        )
    if not _BUCKET.fullmatch(bucket):
        raise SettingsError(f"{bucket!r} in {shown!r} is no bucket name: {BUCKET_RULE}")
    return S3Url(bucket, prefix)


def folder(prefix: str) -> str:
    """The prefix as a folder: ending in `/` unless it is empty, as `aws s3 sync` takes it."""
    return prefix if not prefix or prefix.endswith("/") else prefix + "/"


def parse_endpoint(text: str) -> str:
    """The endpoint as scheme, host and port, `https` where no scheme is given, without a slash at the end; "" stays "".

    Raises ValueError that says what is wrong and never repeats the text, which may hold a password.
    """
    if not text:
        return ""
    parts = urlsplit(text if "://" in text else f"https://{text}")
    if parts.scheme not in {"http", "https"}:
        raise ValueError("an endpoint begins with http:// or https://")
    if parts.username is not None or parts.password is not None:
        raise ValueError("an endpoint holds no user or password")
    if not parts.hostname or parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise ValueError("an endpoint is a host, with a port where it needs one: https://host:9000")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    standard = {"http": 80, "https": 443}[parts.scheme]
    port = "" if parts.port in {None, standard} else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def parse_proxy(text: str) -> str:
    """The proxy's URL with its scheme, without a slash at the end; "" stays "".

    Raises ValueError that says what is wrong and never repeats the text, which may hold a password.
    """
    if not text:
        return ""
    url = (text if "://" in text else f"http://{text}").rstrip("/")
    parts = urlsplit(url)
    if parts.scheme != "http":
        raise ValueError("a proxy begins with http://: it is asked in plain HTTP, for a tunnel where the store has TLS")
    try:
        port = parts.port
    except ValueError:
        port = None
    if not port or not parts.hostname or parts.path or parts.query or parts.fragment:
        rule = "a proxy is http://host:port, or http://user:password@host:port"
        raise ValueError(f"{rule}, with %40, %2F and the like for odd characters of the password")
    return url


def metrics_address(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`, `[::1]:PORT`, `:PORT` or `PORT`; without a host, 127.0.0.1."""
    host, _, port = text.rpartition(":")
    return host.strip("[]") or "127.0.0.1", int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the host. No name is looked up: other names than `localhost` count as reachable."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
