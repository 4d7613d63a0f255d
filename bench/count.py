"""Count keys and bytes through dth's own lister, as `rclone size` does: `python -m bench.count ENDPOINT BUCKET/PREFIX`."""

import os
import sys

import uvloop

from dth.app.sides import open_sides
from dth.settings import load_settings


async def count(endpoint: str, bucket: str, prefix: str) -> tuple[int, int]:
    """How many objects there are, and the sum of their sizes."""
    # nobody asks the second side anything
    flags = {"src_bucket": bucket, "src_endpoint": endpoint, "dest_bucket": "unasked"}
    job = load_settings(flags, os.environ, None)
    objects = size = 0
    async with open_sides(job, connections=4) as sides:
        async for page in sides.source.pages(prefix):
            objects += len(page)
            size += sum(entry.size for entry in page)
    return objects, size


if __name__ == "__main__":
    bucket, _, prefix = sys.argv[2].partition("/")
    print(*uvloop.run(count(sys.argv[1], bucket, prefix)))
