"""A registry of our own: OCI distribution v1.1 with the referrers API, and every misbehaviour that a test asks for.

It runs on a thread of its own, so that tests may drive it from a loop, from plain code or from a subprocess. What it was
asked is in `log`. Blobs may be patterns that exist nowhere as a whole, and be sunk (hashed, not kept).
"""

import asyncio
import hashlib
import json
import re
import ssl
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CHUNK = 256 * 1024
_NAME = re.compile(r"/v2/(.+?)/(blobs|manifests|tags|referrers)/(.*)")


def digest_of(data: bytes | bytearray) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class Pattern:
    """`size` bytes made of a repeated kibibyte; its digest is computed once."""

    seed: int
    size: int

    def pieces(self, start: int = 0) -> Iterator[bytes]:
        kibi = hashlib.sha256(str(self.seed).encode()).digest() * 32
        chunk = kibi * (_CHUNK // 1024)
        at = start
        while at < self.size:
            piece = chunk[at % 1024 : at % 1024 + min(_CHUNK - 1024, self.size - at)]
            yield piece
            at += len(piece)

    def digest(self) -> str:
        running = hashlib.sha256()
        for piece in self.pieces():
            running.update(piece)
        return "sha256:" + running.hexdigest()


Blob = bytes | Pattern


@dataclass(frozen=True)
class Request:
    """What a fault looks at. `path` is as it was sent, query included."""

    method: str
    path: str
    headers: dict[str, str]

    def is_for(self, method: str, part: str) -> bool:
        return self.method == method and part in self.path


@dataclass(frozen=True)
class Reply:
    """What a fault answers. Headers may repeat."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass
class Repository:
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    blobs: dict[str, Blob | None] = field(default_factory=dict)  # None: sunk


@dataclass
class Faults:
    """What goes wrong. Counts go down as they are used."""

    rate: int = 0  # requests let through in each tenth of a second, the others get 429
    retry_after: str = ""
    fail: int = 0  # requests answered 503
    only: Callable[[str, str], bool] = lambda method, path: True  # which requests `rate` and `fail` mean
    refuse_mounts: bool = False
    cut_reads: list[int] = field(default_factory=list)  # GET of a blob: cut after so many bytes, once each
    cut_writes: list[int] = field(default_factory=list)  # PATCH or PUT of a blob: cut after so many bytes, once each
    corrupt: set[str] = field(default_factory=set)  # blobs sent with one byte changed, always
    corrupt_once: set[str] = field(default_factory=set)
    immutable: bool = False
    no_ranges: bool = False
    no_status: bool = False  # upload sessions are forgotten at a cut
    referrers: bool = True
    page: int = 0  # names in a page
    circle: bool = False  # pages that never end
    relative: bool = True  # Location headers
    schema1: bool = False
    slow: float = 0.0  # seconds before each piece of a blob
    redirect: str = ""  # blobs are elsewhere
    instead: Callable[["Request"], "Reply | None"] = lambda request: None  # answers in the registry's stead
    finish_seconds: float = 0.0  # between the end of an upload and its answer; the blob is there when it comes
    bare: bool = False  # neither Location nor Range in answers to PATCH
    least: int = 0  # OCI-Chunk-Min-Length
    untag: bool = True  # DELETE removes tags; False: 400, manifests alone go, as of Docker's own registry


class Registry:
    """Use as a context manager; `address` is what goes into settings."""

    def __init__(
        self,
        *,
        token_seconds: float = 0.0,
        user: str = "",
        password: str = "",
        sink: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._tls = tls
        self.repositories: dict[str, Repository] = {}
        self.faults = Faults()
        self.log: list[tuple[str, str, int]] = []
        self.received = 0  # bytes of blobs
        self.sent = 0
        self.served_tokens = 0
        self.authorizations: list[str] = []
        self.errors: list[BaseException] = []
        self._token_seconds = token_seconds
        self.login = (user, password)
        self._sink = sink
        self._tokens: dict[str, tuple[float, set[str]]] = {}
        self._sessions: dict[str, tuple[str, bytearray, Any, list[int]]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._writers: set[asyncio.StreamWriter] = set()
        self._window = (0, 0)
        self.port = 0

    def __enter__(self) -> "Registry":
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20, ssl=self._tls), self._loop
        ).result(10)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        async def end() -> None:
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            mine = asyncio.current_task()
            others = [task for task in asyncio.all_tasks() if task is not mine]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        if self.errors and error is None:
            raise self.errors[0]

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.host}"

    # Filling and looking

    def repository(self, name: str) -> Repository:
        return self.repositories.setdefault(name, Repository())

    def add_blob(self, name: str, data: Blob) -> dict[str, Any]:
        """Store it; its descriptor."""
        digest, size = (digest_of(data), len(data)) if isinstance(data, bytes) else (data.digest(), data.size)
        self.repository(name).blobs[digest] = data
        return {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest, "size": size}

    def add_manifest(self, name: str, fields: dict[str, Any], tag: str = "") -> dict[str, Any]:
        """Store it, spaced unlike anyone else would, so that nobody can serialise it again unnoticed; its descriptor."""
        raw = json.dumps(fields, indent=3).encode()
        digest = digest_of(raw)
        self.repository(name).manifests[digest] = (fields["mediaType"], raw)
        if tag:
            self.repository(name).tags[tag] = digest
        return {"mediaType": fields["mediaType"], "digest": digest, "size": len(raw)}

    def add_image(
        self, name: str, tag: str = "", layers: tuple[Blob, ...] = (b"layer",), **more: Any
    ) -> dict[str, Any]:
        """An image with its config and layers; its descriptor."""
        config = self.add_blob(name, json.dumps({"of": name, "tag": tag, "layers": len(layers)}).encode())
        config["mediaType"] = "application/vnd.oci.image.config.v1+json"
        parts = [self.add_blob(name, layer) for layer in layers]
        fields = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": parts, **more}
        return self.add_manifest(name, fields, tag)

    def add_index(self, name: str, tag: str, children: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        return self.add_manifest(name, {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children, **more}, tag)

    def content(self) -> dict[str, dict[str, str]]:
        """Digest by tag, by repository."""
        return {name: dict(one.tags) for name, one in self.repositories.items() if one.tags}

    def asked(self) -> Counter[str]:
        """Requests by method and what they were about."""
        kinds: Counter[str] = Counter()
        for method, path, _ in self.log:
            found = _NAME.fullmatch(urlsplit(path).path)
            what = found[2] if found else path.rpartition("/")[2].partition("?")[0] or "ping"
            kinds[f"{method} {'uploads' if '/blobs/uploads' in path else what}"] += 1
        return kinds

    def forget(self) -> None:
        self.log.clear()
        self.received = self.sent = self.served_tokens = 0

    # HTTP

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while await Exchange(self, reader, writer).run():
                pass
        except (OSError, asyncio.IncompleteReadError, Cut):
            pass
        except Exception as exc:  # noqa: BLE001 - raised where the test ends
            self.errors.append(exc)
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    def too_fast(self, rate: int) -> bool:
        """Whether this tenth of a second has seen enough."""
        tenth = int(time.monotonic() * 10)
        self._window = (tenth, self._window[1] + 1 if self._window[0] == tenth else 1)
        return self._window[1] > rate

    def issue(self, scopes: list[str]) -> bytes:
        token = uuid.uuid4().hex
        self._tokens[token] = (time.monotonic() + self._token_seconds, set(scopes))
        self.served_tokens += 1
        return json.dumps({"token": token, "expires_in": self._token_seconds}).encode()

    def token_end(self, token: str) -> float:
        return self._tokens.get(token, (0.0, set()))[0]


class Cut(Exception):
    """The connection ends here."""


class Exchange:
    """One request and its answer."""

    def __init__(self, registry: Registry, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.registry, self.reader, self.writer = registry, reader, writer
        self.faults = registry.faults
        self.left = 0
        self.until = float("inf")  # when the token that let it in ends

    async def run(self) -> bool:
        begin = await self.reader.readexactly(1)
        if begin == b"\x16":
            raise Cut  # TLS, tried first by clients that take either
        head = (begin + await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        self.method, self.path, _ = first.split(" ")
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self.left = int(self.headers.get("content-length", 0))
        parts = urlsplit(self.path)
        self.query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        await self.route(unquote(parts.path))
        while self.left:
            self.left -= len(await self.reader.read(min(self.left, _CHUNK)) or self.cut())
        return True

    def cut(self) -> bytes:
        raise Cut

    async def say(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.registry.log.append((self.method, self.path, status))
        await self.head(status, {"content-length": str(len(body)), **(headers or {})})
        if self.method != "HEAD":
            self.writer.write(body)
        await self.writer.drain()

    async def reply(self, answer: Reply) -> None:
        self.registry.log.append((self.method, self.path, answer.status))
        length = ("content-length", str(len(answer.body)))
        headers = (
            answer.headers
            if any(name == "transfer-encoding" for name, _ in answer.headers)
            else (length, *answer.headers)
        )
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        self.writer.write(f"HTTP/1.1 {answer.status} X\r\n{lines}\r\n".encode("latin-1"))
        if self.method != "HEAD":
            self.writer.write(answer.body)
        await self.writer.drain()

    async def head(self, status: int, headers: dict[str, str]) -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.writer.write(f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode("latin-1"))

    async def refuse(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        body = json.dumps({"errors": [{"code": code, "message": f"this is {code}"}]}).encode()
        await self.say(status, headers, body)

    async def body(self, take: Callable[[bytes], None], cuts: list[int] | None = None) -> None:
        limit = cuts.pop(0) if cuts else None
        seen = 0
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            while size := int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16):
                take(await self.reader.readexactly(size))
                await self.reader.readexactly(2)
            await self.reader.readuntil(b"\r\n")
        while self.left:
            piece = await self.reader.read(min(self.left, _CHUNK))
            if not piece:
                raise Cut
            if limit is not None and seen + len(piece) >= limit:
                take(piece[: limit - seen])
                raise Cut
            self.left -= len(piece)
            seen += len(piece)
            take(piece)

    async def route(self, path: str) -> None:  # noqa: C901, PLR0911, PLR0912 - the table of the API
        faults = self.faults
        if instead := faults.instead(Request(self.method, self.path, self.headers)):
            self.registry.authorizations.append(self.headers.get("authorization", ""))
            return await self.reply(instead)
        if path == "/token":
            return await self.token()
        if not await self.let_in():
            return None
        if faults.only(self.method, self.path):
            if faults.rate and self.registry.too_fast(faults.rate):
                more = {"retry-after": faults.retry_after} if faults.retry_after else {}
                return await self.refuse(429, "TOOMANYREQUESTS", more)
            if faults.fail:
                faults.fail -= 1
                return await self.refuse(503, "UNAVAILABLE")
        if path == "/v2/":
            return await self.say(200)
        if path == "/v2/_catalog":
            return await self.page("repositories", sorted(self.registry.repositories))
        found = _NAME.fullmatch(path)
        if not found:
            return await self.refuse(404, "UNSUPPORTED")
        self.name, kind, rest = found.groups()
        self.repo = self.registry.repositories.get(self.name)
        match kind:
            case "tags":
                return await self.tags()
            case "manifests":
                return await self.manifest(rest)
            case "referrers":
                return await self.referrers(rest)
            case _ if rest.startswith("uploads"):
                return await self.upload(rest.removeprefix("uploads").strip("/"))
            case _:
                return await self.blob(rest)

    # Letting in

    async def token(self) -> None:
        import base64

        user, password = self.registry.login
        if user:
            given = self.headers.get("authorization", "").removeprefix("Basic ")
            if base64.b64decode(given or b"").decode() != f"{user}:{password}":
                return await self.refuse(401, "UNAUTHORIZED")
        scopes = parse_qs(urlsplit(self.path).query).get("scope", [])
        return await self.say(200, None, self.registry.issue(scopes))

    async def let_in(self) -> bool:
        registry = self.registry
        given = self.headers.get("authorization", "")
        registry.authorizations.append(given)
        if not registry._token_seconds:
            return True
        end = registry.token_end(given.removeprefix("Bearer "))
        if time.monotonic() < end:
            self.until = end
            return True
        realm = f'Bearer realm="{registry.address}/token",service="ours",scope="repository:x:pull"'
        await self.refuse(401, "UNAUTHORIZED", {"www-authenticate": realm})
        return False

    # Lists

    async def page(self, field_name: str, names: list[str], **more: Any) -> None:
        last = self.query.get("last", "")
        names = [name for name in names if name > last]
        headers = {"content-type": "application/json"}
        size = self.faults.page
        if size and len(names) > size:
            names = names[:size]
            mark = "" if self.faults.circle else names[-1]
            headers["link"] = f'<{urlsplit(self.path).path}?n={size}&last={mark}>; rel="next"'
        await self.say(200, headers, json.dumps({**more, field_name: names}).encode())

    async def tags(self) -> None:
        if self.repo is None:
            return await self.refuse(404, "NAME_UNKNOWN")
        return await self.page("tags", sorted(self.repo.tags), name=self.name)

    async def referrers(self, digest: str) -> None:
        if not self.faults.referrers:
            return await self.refuse(404, "UNSUPPORTED")
        found = []
        for one, (kind, raw) in (self.repo or Repository()).manifests.items():
            fields = json.loads(raw)
            if fields.get("subject", {}).get("digest") == digest:
                about = {"artifactType": fields.get("artifactType", ""), "annotations": fields.get("annotations", {})}
                found.append({"mediaType": kind, "digest": one, "size": len(raw), **about})
        headers = {"content-type": OCI_INDEX}
        if size := self.faults.page:  # the specification leaves the link's form to the registry
            start = int(self.query.get("from", "0"))
            if start + size < len(found):
                headers["link"] = f'</v2/{self.name}/referrers/{digest}?from={start + size}>; rel="next"'
            found = found[start : start + size]
        body = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found}
        return await self.say(200, headers, json.dumps(body).encode())

    # Manifests

    async def manifest(self, reference: str) -> None:
        if self.method == "PUT":
            return await self.put_manifest(reference)
        repo = self.repo or Repository()
        digest = repo.tags.get(reference, reference)
        if self.faults.schema1:
            raw = b'{"schemaVersion": 1}'
            headers = {"content-type": "application/vnd.docker.distribution.manifest.v1+prettyjws"}
            return await self.say(200, {**headers, "docker-content-digest": digest_of(raw)}, raw)
        if digest not in repo.manifests:
            return await self.refuse(404, "MANIFEST_UNKNOWN")
        if self.method == "DELETE":
            if reference in repo.tags and not self.faults.untag:
                return await self.refuse(400, "DIGEST_INVALID")
            if reference in repo.tags:
                del repo.tags[reference]
            else:
                del repo.manifests[digest]
                repo.tags = {tag: one for tag, one in repo.tags.items() if one != digest}
            return await self.say(202)
        kind, raw = repo.manifests[digest]
        return await self.say(200, {"content-type": kind, "docker-content-digest": digest}, raw)

    async def put_manifest(self, reference: str) -> None:
        raw = bytearray()
        await self.body(raw.extend)
        fields, digest = json.loads(raw), digest_of(raw)
        repo = self.registry.repository(self.name)
        needs = [one["digest"] for one in fields.get("layers", []) if not one.get("urls")]
        needs += [fields["config"]["digest"]] if "config" in fields else []
        if any(one not in repo.blobs for one in needs):
            return await self.refuse(404, "MANIFEST_BLOB_UNKNOWN")
        nested = [one["digest"] for one in fields.get("manifests", [])]
        if any(one not in repo.manifests and one not in repo.blobs for one in nested):
            return await self.refuse(404, "MANIFEST_UNKNOWN")
        if not reference.startswith("sha256:"):
            if self.faults.immutable and repo.tags.get(reference, digest) != digest:
                return await self.refuse(400, "TAG_INVALID")
            repo.tags[reference] = digest
        elif reference != digest:
            return await self.refuse(400, "DIGEST_INVALID")
        repo.manifests[digest] = (self.headers["content-type"], bytes(raw))
        headers = {"docker-content-digest": digest}
        if "subject" in fields and self.faults.referrers:
            headers["oci-subject"] = fields["subject"]["digest"]
        return await self.say(201, headers)

    # Blobs

    async def blob(self, digest: str) -> None:
        repo = self.repo or Repository()
        if digest not in repo.blobs:
            return await self.refuse(404, "BLOB_UNKNOWN")
        data = repo.blobs[digest]
        size = 0 if data is None else len(data) if isinstance(data, bytes) else data.size
        if self.method == "HEAD":
            self.registry.log.append((self.method, self.path, 200))
            return await self.head(200, {"content-length": str(size), "docker-content-digest": digest})
        if self.faults.redirect:
            return await self.say(307, {"location": f"{self.faults.redirect}{self.path}"})
        span = re.fullmatch(r"bytes=(\d+)-", self.headers.get("range", ""))
        start = int(span[1]) if span and not self.faults.no_ranges else 0
        headers = {"content-length": str(size - start)}
        if start:
            headers["content-range"] = f"bytes {start}-{size - 1}/{size}"
        self.registry.log.append((self.method, self.path, 206 if start else 200))
        await self.head(206 if start else 200, headers)
        assert data is not None, "what was sunk cannot be read"
        pieces = iter([data[start:]]) if isinstance(data, bytes) else data.pieces(start)
        spoilt = digest in self.faults.corrupt or digest in self.faults.corrupt_once
        self.faults.corrupt_once.discard(digest)
        limit = self.faults.cut_reads.pop(0) if self.faults.cut_reads else None
        return await self.stream(pieces, limit, spoilt=spoilt)

    async def stream(self, pieces: Iterator[bytes], limit: int | None, *, spoilt: bool) -> None:
        seen = 0
        for whole in pieces:
            for at in range(0, len(whole), 65_536):
                piece = whole[at : at + 65_536]
                if spoilt:
                    piece, spoilt = bytes([piece[0] ^ 1]) + piece[1:], False
                if self.faults.slow:
                    await asyncio.sleep(self.faults.slow)
                if time.monotonic() > self.until:
                    raise Cut  # as services do that check the token all along
                if limit is not None and seen + len(piece) >= limit:
                    self.writer.write(piece[: limit - seen])
                    await self.writer.drain()
                    raise Cut
                self.writer.write(piece)
                await self.writer.drain()
                seen += len(piece)
                self.registry.sent += len(piece)

    async def upload(self, session: str) -> None:  # noqa: C901, PLR0911 - the life of a session
        if not session:
            return await self.start_upload()
        found = self.registry._sessions.get(session)
        if found is None:
            return await self.refuse(404, "BLOB_UPLOAD_UNKNOWN")
        name, data, running, size = found
        here = self.where(f"/v2/{name}/blobs/uploads/{session}")
        if self.method == "GET":
            return await self.say(204, {"location": here, "range": f"0-{max(size[0] - 1, 0)}"})

        def take(piece: bytes) -> None:
            if not self.registry._sink:
                data.extend(piece)
            running.update(piece)
            size[0] += len(piece)
            self.registry.received += len(piece)

        if self.method == "PATCH":
            start = int(self.headers.get("content-range", "0-0").partition("-")[0])
            if start != size[0]:
                return await self.refuse(416, "RANGE_INVALID")
        try:
            await self.body(take, self.faults.cut_writes)
        except Cut:
            if self.faults.no_status:
                del self.registry._sessions[session]
            raise
        if self.method == "PATCH" and self.faults.bare:
            return await self.say(202)
        if self.method == "PATCH":
            return await self.say(202, {"location": here, "range": f"0-{max(size[0] - 1, 0)}"})
        digest = self.query.get("digest", "")
        del self.registry._sessions[session]
        if "sha256:" + running.hexdigest() != digest:
            return await self.refuse(400, "DIGEST_INVALID")
        kept = None if self.registry._sink else bytes(data)
        if self.faults.finish_seconds:
            blobs = self.registry.repository(name).blobs
            asyncio.get_running_loop().call_later(self.faults.finish_seconds, blobs.__setitem__, digest, kept)
            await asyncio.sleep(self.faults.finish_seconds)
        self.registry.repository(name).blobs[digest] = kept
        return await self.say(201, {"location": self.where(f"/v2/{name}/blobs/{digest}")})

    async def start_upload(self) -> None:
        mount, origin = self.query.get("mount", ""), self.query.get("from", "")
        there = self.registry.repositories.get(origin, Repository()).blobs
        if mount and mount in there and not self.faults.refuse_mounts:
            self.registry.repository(self.name).blobs[mount] = there[mount]
            return await self.say(201, {"location": self.where(f"/v2/{self.name}/blobs/{mount}")})
        session = uuid.uuid4().hex
        self.registry._sessions[session] = (self.name, bytearray(), hashlib.sha256(), [0])
        self.registry.repository(self.name)
        headers = {"location": self.where(f"/v2/{self.name}/blobs/uploads/{session}?state=a%2Bb")}
        if self.faults.least:
            headers["oci-chunk-min-length"] = str(self.faults.least)
        return await self.say(202, headers)

    def where(self, path: str) -> str:
        return path if self.faults.relative else f"{self.registry.address}{path}"
