"""Keys that change while a run goes on: a secret that is rotated, and credentials that live for seconds."""

from __future__ import annotations

import json
import re
import subprocess
import time
import uuid
from pathlib import Path

import pytest

from tests.servers.aws import Aws
from tests.servers.generator import Generator
from tests.servers.wire import Answer, Request, error

from .harness import FULL, HANG_SECONDS, Dth, environment

pytestmark = pytest.mark.slow

COUNT, SIZE = 160, 64 << 10
LIFE = 20 if FULL else 6  # seconds
SPEED = "150KiB" if FULL else "512KiB"  # so that several lives pass


def who(request: Request) -> str:
    """The access key that signed."""
    found = re.search(r"Credential=([^/]+)/", request.headers.get("authorization", ""))
    return found[1] if found else ""


def between(folder: Path, source: Generator, sink: Generator, *flags: str) -> Dth:
    reach = ("--src-endpoint", source.endpoint, "--src-region", "us-east-1", "--dest-endpoint", sink.endpoint)
    where = ("--dest-region", "us-east-1", "--state", str(folder / "state"), "--json", "--processes", "1")
    return Dth(environment(folder, {}), [*reach, *where, "--pack-objects", "4", *flags])


@pytest.mark.ministack
def test_a_secret_that_is_rotated_in_mid_run_costs_no_object(ministack: Aws, tmp_path: Path) -> None:
    name, valid = f"keys-{uuid.uuid4().hex[:8]}", {"OLDKEY"}
    secrets = ministack.client("secretsmanager")

    def refuse(request: Request) -> Answer | None:
        return None if who(request) in valid else error(403, "InvalidAccessKeyId")

    def secret(key: str) -> str:
        return json.dumps({"access_key_id": key, "secret_access_key": f"{key}-secret"})

    sizes = {f"k{number:04}": SIZE for number in range(COUNT)}
    with Generator(sizes, refuse=refuse) as source, Generator(refuse=refuse) as sink:
        secrets.create_secret(Name=name, SecretString=secret("OLDKEY"))
        dth = between(
            tmp_path, source, sink, "--src-credentials", name, "--dest-credentials", name, "--bandwidth", "1MiB"
        )
        dth = Dth({**dth.env, **ministack.environment()}, dth.flags)
        running = subprocess.Popen(
            dth.argv("sync", "s3://source", "s3://sink"),
            env=dict(dth.env),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        give_up = time.monotonic() + HANG_SECONDS
        while len(sink.landed) < COUNT // 4 and running.poll() is None:
            assert time.monotonic() < give_up
            time.sleep(0.05)
        secrets.put_secret_value(SecretId=name, SecretString=secret("NEWKEY"))
        valid.clear()
        valid.add("NEWKEY")
        out, err = running.communicate(timeout=HANG_SECONDS)
        secrets.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
        secrets.close()
        summary = json.loads(out.splitlines()[-1])
        assert (running.returncode, summary["done"], summary["failed"]) == (0, COUNT, 0)
        assert source.counts["refused"] + sink.counts["refused"] > 0, "it was rotated too late to matter"
        assert len(sink.landed) == COUNT
        assert b"-secret" not in out + err


def test_credentials_that_live_for_seconds_cost_no_object_and_are_read_once_a_life(tmp_path: Path) -> None:
    log = tmp_path / "reads"
    script = tmp_path / "keys.sh"
    script.write_text(
        f"""#!/bin/sh
until=$(($(date +%s) + {LIFE}))
echo "until-$until-$$" >> {log}
printf '{{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "s", "SessionToken": "until-%s-%s", "Expiration": "%s"}}' \\
  $until $$ $(date -u -d @$until +%Y-%m-%dT%H:%M:%SZ)
"""
    )
    script.chmod(0o700)
    (tmp_path / "config").write_text(f"[profile brief]\ncredential_process = {script}\n")
    used: set[str] = set()

    def refuse(request: Request) -> Answer | None:
        token = request.headers.get("x-amz-security-token", "")
        used.add(token)
        return None if time.time() < float(token.split("-")[1]) else error(400, "ExpiredToken")

    sizes = {f"k{number:04}": SIZE for number in range(COUNT)}
    with Generator(sizes, refuse=refuse) as source, Generator(refuse=refuse) as sink:
        dth = between(tmp_path, source, sink, "--src-profile", "brief", "--dest-profile", "brief", "--bandwidth", SPEED)
        dth = Dth({**dth.env, "AWS_CONFIG_FILE": str(tmp_path / "config")}, dth.flags)
        summary = dth("sync", "s3://source", "s3://sink").summary
        assert (summary["done"], summary["failed"]) == (COUNT, 0)
        assert len(sink.landed) == COUNT
    reads = log.read_text().split()
    sides = 2 * 2  # the finder's and the worker's
    assert len(reads) > 2 * sides, "the run was over before several lives had passed"
    assert set(reads) >= used
    assert len(reads) - len(used) <= sides, "reads whose keys signed nothing: more than one an expiry"
