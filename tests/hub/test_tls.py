"""A hub that other machines may reach: over TLS, with a password, and never by the link."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import subprocess
from pathlib import Path

import pytest
import trustme

from tests.e2e.harness import command

from .hubs import HubProcess, alone, until
from .test_signing_in import set_password


def certificate(folder: Path) -> tuple[str, str, ssl.SSLContext]:
    """Files of a certificate for localhost and its key, and who trusts it."""
    authority = trustme.CA()
    own = authority.issue_cert("localhost", "127.0.0.1")
    cert, key = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(b"".join(one.bytes() for one in own.cert_chain_pems))
    key.write_bytes(own.private_key_pem.bytes())
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    return str(cert), str(key), trusting


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_other_machines_sign_in_over_tls_with_a_password_and_name_no_files(tmp_path: Path) -> None:
    cert, key, trusting = certificate(tmp_path)
    port = free_port()
    hub = alone(tmp_path)
    set_password(hub, "correct horse battery")
    argv = [*command(), "hub", "--json", "--state", str(hub.state), "--host", "0.0.0.0", "--port", str(port)]
    argv += ["--name", f"localhost:{port}", "--tls-cert", cert, "--tls-key", key]
    out = tmp_path / "hub.out"
    with out.open("wb") as file, (tmp_path / "hub.err").open("wb") as errors:
        hub.process = process = subprocess.Popen(argv, env=dict(hub.env), stdout=file, stderr=errors)
    try:
        until(lambda: process.poll() is not None or b"hub_address" in out.read_bytes(), hub.complaint)
        assert process.poll() is None, hub.complaint()
        assert b"hub_link" not in out.read_bytes()

        def post(path: str, body: dict[str, object], cookie: str = "") -> tuple[int, dict[str, str], dict[str, object]]:
            connection = http.client.HTTPSConnection("localhost", port, timeout=60, context=trusting)
            own = {"Content-Type": "application/json", "X-Dth-Hub": "1", "Origin": f"https://localhost:{port}"}
            try:
                connection.request("POST", path, json.dumps(body), own | ({"Cookie": cookie} if cookie else {}))
                answer = connection.getresponse()
                return answer.status, {n.lower(): v for n, v in answer.getheaders()}, json.loads(answer.read())
            finally:
                connection.close()

        status, headers, _ = post("/login/password", {"password": "correct horse battery"})
        assert status == 200
        assert "Secure" in headers["set-cookie"]
        cookie = headers["set-cookie"].partition(";")[0]
        _, _, told = post("/graphql", {"query": "{ hub { user } }"}, cookie)
        assert told == {"data": {"hub": {"user": "password"}}}
        assert post("/graphql", {"query": "{ hub { user } }"})[0] == 401
        settings = [{"name": "src_bucket", "value": "bucket"}, {"name": "dest_bucket", "value": "other"}]
        settings.append({"name": "from_file", "value": "/etc/passwd"})
        save = "mutation($i: TaskInput!) { saveTask(input: $i, run: false) { id } }"
        _, _, told = post(
            "/graphql", {"query": save, "variables": {"i": {"type": "S3EC2", "settings": settings}}}, cookie
        )
        assert told["errors"][0]["extensions"]["code"] == "confined"  # type: ignore[index]
        hub.port = port
        with pytest.raises((http.client.HTTPException, OSError)):
            hub.request("GET", "/", None, {})  # in the clear
    finally:
        hub.end()


@pytest.mark.parametrize("given", ["no key", "no file", "garbage"])
def test_a_certificate_that_cannot_be_used_is_told_at_the_start(tmp_path: Path, given: str) -> None:
    cert, key, _ = certificate(tmp_path)
    if given == "garbage":
        Path(key).write_text("no key at all")
    arguments = ["--tls-cert", str(tmp_path / "none.pem") if given == "no file" else cert]
    arguments += [] if given == "no key" else ["--tls-key", key]
    hub: HubProcess = alone(tmp_path)
    argv = [*command(), "hub", "--no-browser", "--state", str(hub.state), *arguments]
    done = subprocess.run(argv, env=dict(hub.env), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "--tls-key" in done.stderr or "cannot be used for TLS" in done.stderr
    assert "Traceback" not in done.stderr
