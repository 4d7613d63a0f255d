"""What a transfer costs, roughly. Pure data and sums.

US dollars, list prices: for 1,000 requests, and for a gigabyte that leaves a region. Only the first price of a tier is
known here, so large bills are lower, and free allowances are left out.

The source is AWS's price list, which has a file for each region
(https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws/AmazonS3/current/REGION/index.json, and AWSDataTransfer in the place of
AmazonS3). On `DATE` the figures were compared with what others quote from those files, most of it from August and September
2026; none differed. No quotation was found for the prices of us-west-1 and eu-north-1, nor for what leaves Sydney and Sao Paulo
for other regions. AWS's gigabyte has 2^30 bytes (https://aws.amazon.com/s3/pricing/).

A region that is not in the tables takes the prices of `HOME`, and that is said. Not part of the sums: what `NEVER_PRICED` names,
stores that are not AWS's, and AWS's partitions with prices of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dth.partitions import partition_of
from dth.values import value

DATE = "2026-11-28"
HOME = "us-east-1"
MISSING = {
    "foreign_source": "requests to the source, which is not AWS's",
    "foreign_destination": "requests to the destination, which is not AWS's",
    "source": "requests to the source ({})",
    "destination": "requests to the destination ({})",
    "region": f"the prices of {{}}, which are not known here: those of {HOME} were taken",
    "egress": "bytes that leave the source",
    "storage": "storage",
    "compute": "compute and network of the workers",
    "retrieval": "retrieval from archive and infrequent-access classes",
}
"""What a sum may lack, in words. `{}` is a region."""
NEVER_PRICED = ("storage", "compute", "retrieval")

GIGABYTE = 1 << 30


@value
class Region:
    """Prices of one region: a read and a write request (STANDARD; a listing costs as much as a write), in dollars for 1,000;
    a gigabyte to another region, and to the internet."""

    read: float
    write: float
    between: float
    internet: float


REGIONS: Mapping[str, Region] = {
    "us-east-1": Region(0.0004, 0.005, 0.02, 0.09),
    "us-east-2": Region(0.0004, 0.005, 0.02, 0.09),
    "us-west-1": Region(0.00044, 0.0055, 0.02, 0.09),
    "us-west-2": Region(0.0004, 0.005, 0.02, 0.09),
    "ca-central-1": Region(0.00044, 0.0055, 0.02, 0.09),
    "eu-central-1": Region(0.00043, 0.0054, 0.02, 0.09),
    "eu-north-1": Region(0.0004, 0.005, 0.02, 0.09),
    "eu-west-1": Region(0.0004, 0.005, 0.02, 0.09),
    "eu-west-2": Region(0.00042, 0.0053, 0.02, 0.09),
    "eu-west-3": Region(0.00042, 0.0053, 0.02, 0.09),
    "ap-northeast-1": Region(0.00037, 0.0047, 0.09, 0.114),
    "ap-northeast-2": Region(0.00035, 0.0045, 0.08, 0.126),
    "ap-south-1": Region(0.0004, 0.005, 0.086, 0.1093),
    "ap-southeast-1": Region(0.0004, 0.005, 0.09, 0.12),
    "ap-southeast-2": Region(0.00044, 0.0055, 0.098, 0.114),
    "sa-east-1": Region(0.00056, 0.007, 0.138, 0.15),
}
BETWEEN: Mapping[tuple[str, str], float] = {
    ("us-east-1", "us-east-2"): 0.01,
    ("us-east-2", "us-east-1"): 0.01,
}
"""A gigabyte from one region to another, where that has a price of its own."""

WRITE_FACTORS = {"STANDARD_IA": 2.0, "ONEZONE_IA": 2.0, "GLACIER_IR": 4.0, "GLACIER": 6.0, "DEEP_ARCHIVE": 10.0}
"""What a write into a storage class costs, as a multiple of STANDARD's; every other class costs what STANDARD costs. DEEP_ARCHIVE's
is the price of a transition into it: AWS lists none for a direct write."""

_FREE = frozenset({"DeleteObject", "AbortMultipartUpload", "RestoreObject"})  # the last is no request's price
_READS = frozenset({"GetObject", "HeadObject", "HeadBucket", "GetObjectAttributes", "GetObjectTagging"})
_WRITES = frozenset(
    {"PutObject", "CopyObject", "CreateMultipartUpload", "UploadPart", "UploadPartCopy", "CompleteMultipartUpload"}
)


@value
class Cost:
    """About what it costs, in US dollars. `requests_usd` is by side, for those sides whose prices are known; `egress_usd` is
    what leaves the source's region, None where that is not known. `regions` are those whose prices were taken, by side;
    `not_priced` says in words what is missing from the sum, `missing` by a word of `MISSING` and a region ("": none)."""

    usd: float
    requests_usd: Mapping[str, float]
    egress_usd: float | None
    prices_of: str
    regions: Mapping[str, str]
    not_priced: tuple[str, ...]
    missing: tuple[tuple[str, str], ...] = ()

    @property
    def known(self) -> bool:
        """Whether anything at all could be priced."""
        return bool(self.requests_usd) or self.egress_usd is not None


def in_dollars(usd: float) -> str:
    """For people: in cents, and what is less than a dollar more exactly."""
    return f"${usd:,.2f}" if usd >= 1 else f"${usd:,.4f}"


def estimate(requests: Mapping[str, int], storage_class: str, region: str = HOME) -> float:
    """Dollars for so many requests by operation name, whose writes are of `storage_class` ("" is STANDARD)."""
    prices = REGIONS.get(region, REGIONS[HOME])
    dollars = 0.0
    for operation, count in requests.items():
        price = prices.write
        if operation in _FREE:
            price = 0.0
        elif operation in _READS:
            price = prices.read
        elif operation in _WRITES:
            price = prices.write * WRITE_FACTORS.get(storage_class, 1.0)
        dollars += count * price / 1000
    return dollars


def egress(region: str, to: str, size: int) -> float:
    """Dollars for so many bytes out of one of AWS's regions into another, or ("") out of AWS."""
    prices = REGIONS.get(region, REGIONS[HOME])
    if region == to:
        return 0.0
    price = BETWEEN.get((region, to), prices.between) if to else prices.internet
    return size / GIGABYTE * price


def cost_of(
    requests: Mapping[str, Mapping[str, int]], regions: Mapping[str, str], storage_class: str, moved_bytes: int
) -> Cost:
    """What was asked of each side (`source`, `destination`), in `regions` ("": not AWS's, or unknown), and what moved."""
    priced = {side: region for side, region in regions.items() if _is_priced(region)}
    dollars = {
        side: round(estimate(requests.get(side, {}), storage_class if side == "destination" else "", region), 6)
        for side, region in priced.items()
    }
    missing = tuple(_missing(regions, priced))
    leaves = None
    if "source" in priced:
        leaves = round(egress(priced["source"], priced.get("destination", ""), moved_bytes), 6)
    return Cost(
        usd=round(sum(dollars.values()) + (leaves or 0.0), 6),
        requests_usd=dollars,
        egress_usd=leaves,
        prices_of=DATE,
        regions={side: region if region in REGIONS else HOME for side, region in priced.items()},
        not_priced=tuple(MISSING[what].format(region) for what, region in missing),
        missing=missing,
    )


def _is_priced(region: str) -> bool:
    return bool(region and partition_of(region).priced)


def _missing(regions: Mapping[str, str], priced: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """Words of `MISSING`, each with a region."""
    for side in ("source", "destination"):
        if side not in priced:
            region = regions.get(side, "")
            yield (side, region) if region else (f"foreign_{side}", "")
        elif priced[side] not in REGIONS:
            yield "region", priced[side]
    if "source" not in priced:
        yield "egress", ""
    yield from ((what, "") for what in NEVER_PRICED)
