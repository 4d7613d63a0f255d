"""Who is measured, with what settings, and what each hashes: data, so that a fairer setting is one line. Here dth; its
peers stand in `peers.py`."""

import os
import shutil
import sys
from dataclasses import dataclass, field, replace

from bench import aws
from bench.stand import Store

KEY, SECRET = "bench", "benchsecret"
CONTENT_MD5 = "the source's MD5 goes along as Content-MD5 (the destination hashes); lengths"
NOTHING_READ = "nothing is read"
WITH_CRCS = "a store with CRCs"


@dataclass(frozen=True, slots=True)
class Contender:
    """One command. `{scheme}`, `{port}`, `{source_host}` and `{dest_host}` are the store's, `{source}` and `{dest}` are
    `bucket/prefix/`, `{aws}` is the URL of the emulated services, `{certificate}` the file that HTTPS is trusted by, `{home}` and `{memory}` are folders that are new for
    each run. Contenders of one `tool` are its settings: its best one counts, of those that may."""

    tool: str
    setting: str
    command: tuple[str, ...]
    hashes: str
    env: dict[str, str] = field(default_factory=dict)
    counts: bool = True  # False: shown, but never the tool's best, because it proves less or does less
    share: int = 1  # it moves every `share`-th object alone, because all of them would take too long
    program: str = ""  # what must be there; "": the command's first word
    rounds: int = 0  # most rounds it takes part in, where each takes long and no bound hangs on it; 0: all

    def words(self, store: Store, source: str, dest: str) -> list[str]:
        """The command, for this store."""
        return [_fill(word, store, source, dest) for word in self.command]

    def environment(self, store: Store) -> dict[str, str]:
        """Its environment, which trusts the store's certificate."""
        trust = {"SSL_CERT_FILE": str(store.certificate)} if store.certificate else {}
        services = aws.environment(store.aws) if store.aws else {}
        return trust | services | {name: _fill(value, store, "", "") for name, value in self.env.items()}

    def installed(self) -> bool:
        program = self.program or self.command[0]
        return bool(shutil.which(program)) and os.access(shutil.which(program) or program, os.X_OK)


def _fill(word: str, store: Store, source: str, dest: str) -> str:
    values = {
        "source": source,
        "dest": dest,
        "scheme": store.scheme,
        "port": str(store.port),
        "source_host": store.source_host,
        "dest_host": store.dest_host,
        "aws": store.aws,
        "certificate": str(store.certificate or ""),
    }
    for name, value in values.items():
        word = word.replace(f"{{{name}}}", value)
    return word


DTH = (sys.executable, "-m", "dth")
AWS = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1"}
_SIDES = (
    *("s3://{source}", "s3://{dest}", "--src-endpoint", "{scheme}://{source_host}:{port}"),
    *("--dest-endpoint", "{scheme}://{dest_host}:{port}", "--state", "{home}/state"),
)


def dth(*extra: str) -> Contender:
    """dth with its defaults."""
    env = AWS | {"AWS_DEFAULT_REGION": "us-east-1"}
    return Contender("dth", "defaults", (*DTH, "sync", *_SIDES, *extra), CONTENT_MD5, env)


def dth_planning() -> Contender:
    """dth that finds what differs and queues it, and moves nothing."""
    flags = ("--src-endpoint", "{scheme}://{source_host}:{port}", "--dest-endpoint", "{scheme}://{dest_host}:{port}")
    places = ("--src-bucket", "source", "--src-prefix", "data/", "--dest-bucket", "dest", "--dest-prefix", "data")
    command = (*DTH, "find", *places, *flags, "--state", "{home}/state")
    return replace(dth(), setting="find: queued", command=command, hashes=NOTHING_READ)


def dth_large() -> list[Contender]:
    """What is known of a store decides what proves a large object: dth takes an unknown one's word for nothing but its
    size, and says so in its report. That doesn't count; the same store treated as what it behaves like does."""
    unknown = "nothing: an unknown store's ETags of parts prove nothing, and its checksums are not asked for; lengths"
    crc = "own CRC64NVME of each part, which must equal the destination's"
    etag = "nothing itself: parts as the source's, so the MD5s that the destination takes must give the source's ETag"
    src = ("--src-type", "MinIO")
    return [
        replace(dth(), setting="store unknown", hashes=unknown, counts=False),
        replace(dth(*src, "--dest-type", "SeaweedFS"), setting=WITH_CRCS, hashes=crc),
        replace(dth(*src, "--dest-type", "MinIO"), setting="a store with ETags of parts", hashes=etag),
    ]


def dth_listing() -> list[Contender]:
    """A line a key, and counted: no command of dth's only lists."""
    count = (sys.executable, "-m", "bench.count", "{scheme}://{source_host}:{port}", "{source}")
    return [
        replace(dth("--dry-run"), setting="dry run: a line a key"),
        replace(dth(), setting="its lister: counted", command=count),
    ]
