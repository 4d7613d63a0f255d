"""What requests cost, roughly. Pure data and a sum.

US dollars for 1,000 requests to AWS S3 in US East (N. Virginia), as they were known on 2026-11-25 from
https://aws.amazon.com/s3/pricing/ ("Requests & data retrievals"); other regions of the same partition differ by up to a half.
Not part of the sum: bytes that leave a region (often the largest item of a bill), what a class of storage asks for reading,
restores, and anything that is not AWS's or in another of its partitions, whose prices are others: `dth.partitions` says for which partition these hold.
"""

from __future__ import annotations

from collections.abc import Mapping

SOURCE = "https://aws.amazon.com/s3/pricing/, US East (N. Virginia), 2026-11-25"

READ = 0.0004
WRITE_AND_LIST = 0.005
WRITE_BY_CLASS = {
    "STANDARD_IA": 0.01,
    "ONEZONE_IA": 0.01,
    "GLACIER_IR": 0.02,
    "GLACIER": 0.03,
    "DEEP_ARCHIVE": 0.05,
}
"""Of PutObject and the requests of a multipart upload; every other class costs what STANDARD costs."""

_FREE = frozenset(
    {"DeleteObject", "AbortMultipartUpload", "RestoreObject"}
)  # the last is no request's price: see above
_READS = frozenset({"GetObject", "HeadObject", "HeadBucket", "GetObjectAttributes", "GetObjectTagging"})
_WRITES = frozenset(
    {"PutObject", "CopyObject", "CreateMultipartUpload", "UploadPart", "UploadPartCopy", "CompleteMultipartUpload"}
)


def estimate(requests: Mapping[str, int], storage_class: str) -> float:
    """US dollars for so many requests by operation name, whose writes are of `storage_class` ("" is STANDARD)."""
    dollars = 0.0
    for operation, count in requests.items():
        price = WRITE_AND_LIST
        if operation in _FREE:
            price = 0.0
        elif operation in _READS:
            price = READ
        elif operation in _WRITES:
            price = WRITE_BY_CLASS.get(storage_class, WRITE_AND_LIST)
        dollars += count * price / 1000
    return dollars
