"""An independent look at a SeaweedFS bucket: through its filer's own HTTP interface, neither S3 nor a line of the engine."""

from __future__ import annotations

import hashlib
import http.client
import json
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

READERS = 4
PAGE = 1000


def differences(filer: str, bucket: str, expected: dict[str, str]) -> list[str]:
    """What is wrong with the bucket, a line each: keys missing, extra, or whose SHA-256 is not the expected one."""
    host = urllib.parse.urlsplit(filer).netloc
    found = set(_keys(host, f"/buckets/{bucket}/"))
    wrong = [f"missing: {key}" for key in sorted(expected.keys() - found)]
    wrong += [f"not expected: {key}" for key in sorted(found - expected.keys())]
    present = sorted(expected.keys() & found)
    with ThreadPoolExecutor(READERS) as pool:
        slices = [present[n::READERS] for n in range(READERS)]
        for bad in pool.map(lambda keys: _damaged(host, bucket, keys, expected), slices):
            wrong += bad
    return wrong


def _damaged(host: str, bucket: str, keys: list[str], expected: dict[str, str]) -> list[str]:
    connection = http.client.HTTPConnection(host, timeout=60)
    bad = []
    for key in keys:
        connection.request("GET", urllib.parse.quote(f"/buckets/{bucket}/{key}"))
        answer = connection.getresponse()
        digest = hashlib.sha256()
        while block := answer.read(1 << 20):
            digest.update(block)
        if answer.status != http.client.OK or digest.hexdigest() != expected[key]:
            bad.append(f"other bytes: {key}")
    connection.close()
    return bad


def _keys(host: str, folder: str) -> Iterator[str]:
    """Full names of all files below `folder`, relative to it, page by page and folder by folder."""
    connection = http.client.HTTPConnection(host, timeout=60)
    waiting = [folder]
    while waiting:
        here, last, more = waiting.pop(), "", True
        while more:
            query = urllib.parse.urlencode({"limit": PAGE, "lastFileName": last})
            connection.request("GET", f"{urllib.parse.quote(here)}?{query}", headers={"Accept": "application/json"})
            answer = connection.getresponse()
            listing = json.loads(answer.read() or b"{}") if answer.status == http.client.OK else {}
            for entry in listing.get("Entries") or []:
                path = entry["FullPath"]
                if entry["Mode"] & (1 << 31):  # Go's os.ModeDir
                    waiting.append(path + "/")
                else:
                    yield path.removeprefix(folder)
            last = listing.get("LastFileName", "")
            more = bool(listing.get("ShouldDisplayLoadMore"))
    connection.close()
