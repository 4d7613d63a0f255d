"""Opens the list that a job takes its prefixes or keys from, and makes listers of what it names."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from dth import settings
from dth.app.sides import LISTING_CONNECTIONS, Sides, open_store
from dth.errors import SettingsError
from dth.events import Emit, Notice
from dth.settings import TransferJob, parse_s3_url
from dth.stores.base import Lister
from dth.stores.s3 import S3Store

if TYPE_CHECKING:
    from dth.finder.from_list import KeyList
    from dth.finder.list_formats import Open


@contextlib.asynccontextmanager
async def listers(job: TransferJob, sides: Sides, directory: str, emit: Emit) -> AsyncIterator[tuple[Lister, Lister]]:
    """What a finder lists of both sides: everything, or what the job's list names. Raises SettingsError for a list that
    cannot be read."""
    if not job.from_file and not job.src_prefix_list:
        yield sides.source, sides.destination
        return
    from dth.finder.from_list import KeyList, ListedSide  # noqa: PLC0415 - few jobs have a list

    mapping = settings.mapping(job)
    keys = KeyList(
        prefixes=bool(job.src_prefix_list),
        prefix=mapping.source_prefix,
        sort_memory=job.sort_memory,
        directory=directory,
    )
    try:
        await _read(job, keys, directory)
        if keys.left_out:
            text = f"{keys.left_out} lines of the list do not begin with the source prefix {mapping.source_prefix!r}"
            values: dict[str, str | int] = {"n": keys.left_out, "prefix": mapping.source_prefix}
            emit(Notice("warning", "left_out", f"{text}: they are left out", values))
        destination: Lister = sides.destination
        if not keys.complete:
            cut, put = len(mapping.source_prefix), mapping.dest_listing_prefix
            destination = ListedSide(sides.destination, keys, cut=cut, put=put, asks_all=True)
        yield ListedSide(sides.source, keys, cut=0, put="", asks_all=False), destination
    finally:
        keys.close()


async def _read(job: TransferJob, keys: KeyList, directory: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        if job.src_prefix_list or job.from_file.startswith("s3://"):
            bucket, name = _in_bucket(job)
            store = _store(job, bucket)
            stack.push_async_callback(store.close)
            file = stack.enter_context(await _fetched(store, name, directory))
            open_data = _data_in_bucket(store, directory)
        else:
            name = job.from_file
            file = stack.enter_context(
                _local(Path(name)) if name != "-" else os.fdopen(os.dup(sys.stdin.fileno()), "rb")
            )
            open_data = _data_beside(Path(name))
        from dth.finder.list_formats import entries_of  # noqa: PLC0415 - as above

        await keys.read(entries_of(name, file, open_data))


def _in_bucket(job: TransferJob) -> tuple[str, str]:
    if job.src_prefix_list:
        return job.src_prefix_list_bucket or job.src_bucket, job.src_prefix_list
    url = parse_s3_url(job.from_file)
    return url.bucket, url.prefix


def _store(job: TransferJob, bucket: str) -> S3Store:
    """The bucket of the list: at the source's endpoint; with the source's credentials where it is the source's bucket, else
    with ambient ones."""
    place = settings.source_location(job)
    if bucket != job.src_bucket:
        place = dataclasses.replace(place, bucket=bucket, region="", credentials="", profile="", prefix="")
    return open_store(place, job, LISTING_CONNECTIONS)


async def _fetched(store: S3Store, key: str, directory: str) -> IO[bytes]:
    """The object in a temporary file: a list is read slower than a connection waits."""
    file = tempfile.TemporaryFile(dir=directory or None)  # noqa: SIM115 - the caller's to close
    try:
        stream = await store.get(key, pinned=None)
        async for chunk in stream:
            await asyncio.to_thread(file.write, chunk)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file


def _data_in_bucket(store: S3Store, directory: str) -> Open:
    loop = asyncio.get_running_loop()

    def open_data(key: str) -> IO[bytes]:
        return asyncio.run_coroutine_threadsafe(_fetched(store, key, directory), loop).result()

    return open_data


def _data_beside(manifest: Path) -> Open:
    """Where an inventory's data files lie on a disk: beside the manifest, below it, or in S3's own layout."""

    def open_data(key: str) -> IO[bytes]:
        name = key.rpartition("/")[2]
        places = [manifest.parent / name, manifest.parent / "data" / name, manifest.parent.parent / "data" / name]
        return _local(next((place for place in places if place.exists()), places[0]))

    return open_data


def _local(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise SettingsError(f"cannot read the list {path}: {error.strerror}") from error
