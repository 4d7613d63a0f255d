"""Whole commands through a real proxy, to plain and to TLS endpoints."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme

from tests.servers import tinyproxy as servers
from tests.servers.s3server import S3Server
from tests.servers.tinyproxy import ENCODED, PASSWORD, Tinyproxy
from tests.servers.tls_front import tls_front

from .harness import Dth, between

MIB = 1 << 20


@pytest.fixture
def tinyproxy() -> Iterator[Tinyproxy]:
    running = servers.start(login=True)
    yield running
    running.stop()


@pytest.fixture(params=["http", "https"])
def server(request: pytest.FixtureRequest, rgw: S3Server, tmp_path: Path) -> Iterator[S3Server]:
    """Ceph RGW, as itself or behind TLS."""
    if request.param == "http":
        yield rgw
        return
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with tls_front(urlsplit(rgw.endpoint).port or 0, context) as port:
        yield replace(rgw, endpoint=f"https://127.0.0.1:{port}")


def through(proxy: Tinyproxy, server: S3Server, folder: Path) -> Dth:
    plain = between(folder, server, server, "--ca-bundle", str(folder / "ca.pem"))
    if server.endpoint.startswith("http:"):
        plain = between(folder, server, server)
    variables = {"DTH_SRC_PROXY": proxy.with_login, "DTH_DEST_PROXY": proxy.with_login}
    return replace(plain, env={**plain.env, **variables})


@pytest.mark.tinyproxy
def test_sync_and_verify_ask_for_everything_through_the_proxy(
    tinyproxy: Tinyproxy, rgw: S3Server, server: S3Server, tmp_path: Path
) -> None:
    source, destination = rgw.make_bucket("a"), rgw.make_bucket("b")
    for key, size in {"a b+c": 10, "streamed": 2 * MIB, "parts": 18 * MIB}.items():
        rgw.client("a").put_object(Bucket=source, Key=key, Body=bytes(size))
    dth = through(tinyproxy, server, tmp_path)
    done = dth("sync", f"s3://{source}", f"s3://{destination}")
    checked = dth("verify", f"s3://{source}", f"s3://{destination}", "--download")
    assert done.summary["done"] == 3
    assert checked.code == 0
    asked = tinyproxy.asked()
    sent = sum(sum(done.summary["requests"][side].values()) for side in ("source", "destination"))
    if server.endpoint.startswith("http:"):
        assert len(asked) >= sent
        assert all(f" {server.endpoint}/" in line for line in asked)
    else:
        assert asked
        assert {line.split(" ")[1] for line in asked} == {server.endpoint.removeprefix("https://")}
    words = (PASSWORD.encode(), ENCODED.encode())
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if any(word in path.read_bytes() for word in words)]


@pytest.mark.tinyproxy
def test_a_proxy_that_refuses_us_ends_with_4_its_name_and_no_password(
    tinyproxy: Tinyproxy, rgw: S3Server, tmp_path: Path
) -> None:
    wrong = f"http://user:hush-hush@{tinyproxy.host}"
    dth = between(tmp_path, rgw, rgw, "--src-proxy", wrong)
    done = dth("sync", "s3://one-bucket", "s3://other-bucket", expect=4)
    said = done.stdout + done.stderr
    assert f"the proxy {tinyproxy.host} does not connect to" in said
    assert "hush-hush" not in said
