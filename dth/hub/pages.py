"""The console's files: read once, known by path, compressed when first asked for.

Only paths that were there at the start can be named, so none leads out of the folder. Every path that is no file is a page that
the console draws in the browser, and gets its first page; an asset that is missing stays missing.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from collections.abc import Mapping
from functools import cached_property
from importlib.resources import as_file, files
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, Response

FIRST = "index.html"
ASSETS = "assets/"  # their names hold a hash of their content: what was loaded once is never asked for again
KINDS = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".css": "text/css",
}  # whatever the system says
WORTH_PACKING = 1024  # bytes; less fits one packet anyway

_NONE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>dth hub</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<body style="font-family: sans-serif; max-width: 40em; margin: 4em auto; padding: 0 1em; line-height: 1.5">
<h1>The hub runs, without its console</h1>
<p>This copy of dth was built without the web console. The hub itself works: tasks and schedules go on, and its API answers at
<code>/graphql</code>.</p>
<p>To get the console, install a wheel of a release, or run <code>make hub</code> in a checkout of dth.</p>
</body></html>"""


class File:
    """One file, in memory."""

    def __init__(self, path: str, body: bytes) -> None:
        self.body = body
        self.kind = KINDS.get(Path(path).suffix) or mimetypes.guess_type(path)[0] or "application/octet-stream"
        self.lasting = path.startswith(ASSETS)

    @cached_property
    def tag(self) -> str:
        """An ETag."""
        return f'"{hashlib.sha256(self.body).hexdigest()[:24]}"'

    @cached_property
    def packed(self) -> bytes | None:
        """By gzip; None where that is no shorter."""
        texts = self.kind.startswith("text/") or self.kind.endswith(("javascript", "json", "svg+xml"))
        if not texts or len(self.body) < WORTH_PACKING:
            return None
        packed = gzip.compress(self.body, 9, mtime=0)
        return packed if len(packed) < len(self.body) else None

    def answer(self, asked: Headers) -> Response:
        """The file as a browser wants it: whole, packed, or the word that it has it already."""
        lasting = "public, max-age=31536000, immutable"
        headers = {
            "cache-control": lasting if self.lasting else "no-cache",
            "etag": self.tag,
            "vary": "accept-encoding",
        }
        if self.tag in asked.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        body = self.body
        if "gzip" in asked.get("accept-encoding", "") and self.packed:
            body, headers["content-encoding"] = self.packed, "gzip"
        return Response(body, media_type=self.kind, headers=headers)


class Console:
    """All of them; none where dth was built without its console."""

    def __init__(self, found: Mapping[str, File]) -> None:
        self._files = found

    @classmethod
    def of_package(cls) -> Console:
        """As the package holds it."""
        with as_file(files("dth.hub").joinpath("console")) as folder:
            return cls.of_folder(folder)

    @classmethod
    def of_folder(cls, folder: Path) -> Console:
        """Of a folder of built files."""
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        found = {name: File(name, path.read_bytes()) for path in paths if (name := path.relative_to(folder).as_posix())}
        return cls(found if FIRST in found else {})

    def answer(self, path: str, asked: Headers) -> Response | None:
        """What a browser gets for a path; None for an asset that is not there."""
        if not self._files:
            return HTMLResponse(_NONE, headers={"cache-control": "no-store"})
        found = self._files.get(path)
        if found is None and path.startswith(ASSETS):
            return None
        return (found or self._files[FIRST]).answer(asked)
