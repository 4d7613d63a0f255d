"""Where logins go: to the registry that they belong to, whoever asks for them, and never from TLS into the clear."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from dth.errors import SettingsError
from tests.servers.imaging import sync_images
from tests.servers.registry import Registry, Reply, Request, digest_of

USER, PASSWORD = "corp", "S3cret-Word"
LAYER = b"a layer" * 1000


@pytest.fixture
def source() -> Iterator[Registry]:
    with Registry() as registry:
        registry.add_image("app", "v1", layers=(LAYER,))
        yield registry


@pytest.fixture
def destination() -> Iterator[Registry]:
    with Registry() as registry:
        yield registry


@pytest.fixture
def evil() -> Iterator[Registry]:
    """Asks everybody for a login that its own token service may see."""
    with Registry() as registry:
        registry.faults.instead = lambda request: (
            Reply(200, (), b'{"token":"t"}') if "/tok" in request.path else Reply(401, asks(registry))
        )
        yield registry


def asks(registry: Registry, path: str = "/tok") -> tuple[tuple[str, str], ...]:
    return (("www-authenticate", f'Bearer realm="{registry.address}{path}",service="x"'),)


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Log in to registries, as docker does."""
    folder = tmp_path / "docker"
    folder.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))

    def login(*registries: Registry) -> None:
        auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        (folder / "config.json").write_text(json.dumps({"auths": {one.host: {"auth": auth} for one in registries}}))

    return login


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


def nothing_was_told(registry: Registry) -> None:
    assert registry.log, "nobody came to the trap"
    assert not any("/tok" in path for _, path, _ in registry.log)
    assert set(registry.authorizations) <= {""}


@pytest.mark.parametrize("how", [301, 302, 303, 307, 308])
async def test_a_store_of_blobs_that_asks_for_a_login_gets_none(
    source: Registry, destination: Registry, evil: Registry, docker: Any, tmp_path: Path, how: int
) -> None:
    docker(source)
    source.faults.instead = lambda request: (
        Reply(how, (("location", f"{evil.address}/data"),)) if request.is_for("GET", "/blobs/") else None
    )
    ran = await sync_images(tmp_path, source.address, destination.address, retries=0)
    assert list(ran.failures.values()) == ["bad_credentials"]
    assert evil.host in ran.summary.failures[0].error, "it is said who refused"
    nothing_was_told(evil)


@pytest.mark.parametrize("what", ["HEAD", "GET"])
async def test_nor_does_who_answers_for_manifests_in_the_registrys_stead(
    source: Registry, destination: Registry, evil: Registry, docker: Any, tmp_path: Path, what: str
) -> None:
    docker(source)
    source.faults.instead = lambda request: (
        Reply(307, (("location", f"{evil.address}/m"),)) if request.is_for(what, "/manifests/") else None
    )
    ran = await sync_images(tmp_path, source.address, destination.address, retries=0)
    assert ran.summary.exit_code == (3 if what == "GET" else 0)
    nothing_was_told(evil)


@pytest.mark.parametrize("size", [len(LAYER), 17 * 2**20], ids=["one PUT", "PATCH"])
async def test_an_upload_that_goes_on_elsewhere_takes_no_login_along(
    source: Registry, destination: Registry, evil: Registry, docker: Any, tmp_path: Path, size: int
) -> None:
    source.add_image("app", "v1", layers=(bytes(size),))
    docker(destination)
    destination.faults.instead = lambda request: (
        Reply(202, (("location", f"{evil.address}/upload/1"),)) if request.method == "POST" else None
    )
    ran = await sync_images(tmp_path, source.address, destination.address, retries=0)
    assert list(ran.failures.values()) == ["bad_credentials"]
    nothing_was_told(evil)


async def test_the_registry_itself_is_answered_and_its_token_stays_with_it(
    source: Registry, destination: Registry, docker: Any, tmp_path: Path
) -> None:
    docker(source)

    def instead(request: Request) -> Reply | None:
        if request.path.startswith("/tok?"):
            return Reply(200, (), b'{"token":"good","expires_in":1e999}')
        if request.headers.get("authorization") == "Bearer good":
            return None
        return Reply(401, (("www-authenticate", 'Basic realm="x"'), *asks(source)))

    source.faults.instead = instead
    ran = await sync_images(tmp_path, source.address, destination.address)
    assert ran.summary.exit_code == 0
    basic = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    assert set(source.authorizations) == {"", basic, "Bearer good"}
    assert set(destination.authorizations) == {""}


# TLS


@pytest.mark.parametrize("other_host", [True, False], ids=["another host", "another port"])
async def test_an_upload_with_tls_is_not_finished_without(
    source: Registry, evil: Registry, tls: ssl.SSLContext, tmp_path: Path, other_host: bool
) -> None:
    evil.faults.instead = lambda _request: None
    place = evil.address if not other_host else evil.address.replace("127.0.0.1", "localhost")
    with Registry(tls=tls) as destination:
        destination.faults.instead = lambda request: (
            Reply(202, (("location", f"{place}/v2/app/blobs/uploads/1"),)) if request.method == "POST" else None
        )
        ran = await sync_images(
            tmp_path, source.address, destination.address, insecure_registry=destination.host, retries=0
        )
        assert list(ran.failures.values()) == ["request_refused"]
        assert "without TLS" in ran.summary.failures[0].error
        assert not evil.log


async def test_a_blob_with_tls_is_not_read_without(
    destination: Registry, evil: Registry, tls: ssl.SSLContext, tmp_path: Path
) -> None:
    with Registry(tls=tls) as source:
        source.add_image("app", "v1", layers=(LAYER,))
        source.faults.redirect = evil.address
        ran = await sync_images(tmp_path, source.address, destination.address, insecure_registry=source.host, retries=0)
        assert list(ran.failures.values()) == ["request_refused"]
        assert not evil.log


# One secret, one registry


async def test_a_login_of_the_jobs_registry_is_not_shown_to_others_of_the_list(
    source: Registry, destination: Registry, evil: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dth.app.images.registries import Opener
    from dth.ecr.credentials import Login

    async def secret(*_: object) -> Login:
        return Login(USER, PASSWORD)

    monkeypatch.setattr(Opener, "_secret", secret)
    evil.faults.instead = lambda _request: Reply(401, (("www-authenticate", "Basic"),))
    given: dict[str, Any] = {
        "src_list": "SELECTED",
        "src_credentials": "corp",
        "insecure_registry": evil.address,
        "retries": 0,
    }
    mixed = f"app:v1 {evil.host}/app:v2"
    ran = await sync_images(tmp_path, source.address, destination.address, src_image_list=mixed, **given)
    assert list(ran.failures) == [f"{evil.host}/app:v2"]
    assert set(evil.authorizations) == {""}
    with pytest.raises(SettingsError, match="belong to one registry"):
        await sync_images(tmp_path, source.address, destination.address, src_image_list=f"{evil.host}/app:v2", **given)
    assert set(evil.authorizations) == {""}


async def test_a_password_in_an_address_is_not_printed(destination: Registry, tmp_path: Path) -> None:
    for address in (
        f"http://corp:{PASSWORD}@127.0.0.1:9",
        f"corp:p@{PASSWORD}@host",
        f"https://corp:{PASSWORD}@h:port",
    ):
        with pytest.raises(SettingsError) as error:
            await sync_images(tmp_path, address, destination.address)
        assert PASSWORD not in str(error.value)


async def test_what_a_registry_says_reaches_no_terminal_raw(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    words = {"errors": [{"code": "\x1b[2J\u202eX", "message": "\x9b31m\nforged: all copied"}]}
    source.faults.instead = lambda request: (
        Reply(400, (), json.dumps(words).encode()) if request.is_for("GET", digest_of(LAYER)) else None
    )
    ran = await sync_images(tmp_path, source.address, destination.address, retries=0)
    text = ran.summary.failures[0].error
    assert text.isprintable()
    assert text == ran.report[0]["error"]
