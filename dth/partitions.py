"""AWS's partitions: which regions belong to each, its domains, its name in ARNs, and where its prices are known.

This is the only table of them. Ids, region names and domains are those of botocore's `partitions.json` (a test compares
every region); botocore itself is not imported, because that takes longer than the rest of the start.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Partition(NamedTuple):
    """One partition. Bucket and queue names, accounts and credentials belong to exactly one.

    `id` stands in ARNs (`arn:aws-cn:s3:::name`). `regions` is a pattern that all its region names match. `suffix` ends its
    host names, `dual_stack` those that answer over IPv6 too. `home` is the region of its global services. `priced` names
    the region whose prices `dth.prices` holds, "" where it holds none.
    """

    id: str
    regions: str
    suffix: str
    dual_stack: str
    home: str
    priced: str = ""

    def arn(self, service: str, resource: str, *, region: str = "", account: str = "") -> str:
        """`arn:aws:s3:::bucket/*`. What has no region or no account leaves it empty."""
        return f"arn:{self.id}:{service}:{region}:{account}:{resource}"

    def host(self, service: str, region: str) -> str:
        """`s3.eu-west-1.amazonaws.com`."""
        return f"{service}.{region}.{self.suffix}"


AWS = Partition(
    "aws", r"(?:af|ap|ca|eu|il|me|mx|sa|us)-[a-z]+-[0-9]+", "amazonaws.com", "api.aws", "us-east-1", priced="us-east-1"
)
PARTITIONS: tuple[Partition, ...] = (
    AWS,
    Partition("aws-cn", r"cn-[a-z]+-[0-9]+", "amazonaws.com.cn", "api.amazonwebservices.com.cn", "cn-northwest-1"),
    Partition("aws-us-gov", r"us-gov-[a-z]+-[0-9]+", "amazonaws.com", "api.aws", "us-gov-west-1"),
    Partition("aws-eusc", r"eusc-[a-z]+-[a-z]+-[0-9]+", "amazonaws.eu", "api.amazonwebservices.eu", "eusc-de-east-1"),
    Partition("aws-iso", r"us-iso-[a-z]+-[0-9]+", "c2s.ic.gov", "api.aws.ic.gov", "us-iso-east-1"),
    Partition("aws-iso-b", r"us-isob-[a-z]+-[0-9]+", "sc2s.sgov.gov", "api.aws.scloud", "us-isob-east-1"),
    Partition("aws-iso-e", r"eu-isoe-[a-z]+-[0-9]+", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk", "eu-isoe-west-1"),
    Partition("aws-iso-f", r"us-isof-[a-z]+-[0-9]+", "csp.hci.ic.gov", "api.aws.hci.ic.gov", "us-isof-south-1"),
)

SUFFIXES: tuple[str, ...] = tuple(dict.fromkeys(one.suffix for one in PARTITIONS))
"""The domains of AWS's host names."""
DUAL_STACK: tuple[str, ...] = tuple(dict.fromkeys(one.dual_stack for one in PARTITIONS))
"""The domains of its dual-stack endpoints."""
REGION = "|".join(one.regions for one in PARTITIONS)
"""A pattern of every region's name."""

_DOMAINS = sorted({*SUFFIXES, *DUAL_STACK}, key=len, reverse=True)
_in_host = re.compile(rf"(?:^|[.-])({REGION})(?=\.|$)")
_new_in_host = re.compile(r"(?:^|\.)([a-z]{2,}(?:-[a-z]+)+-[0-9]+)(?=\.|$)")  # a region that is newer than the table


def partition_of(region: str) -> Partition:
    """The partition of a region. Names that match no partition's pattern, "" among them, are taken for regions of `aws`."""
    return next((one for one in PARTITIONS if re.fullmatch(one.regions, region)), AWS)


def partition_at(host: str) -> Partition | None:
    """The partition that a host name belongs to; None where it is not AWS's.

    `amazonaws.com` serves two partitions: the region in the name decides, and names without one are those of `aws`.
    """
    host = host.lower()
    domain = next((one for one in _DOMAINS if host == one or host.endswith("." + one)), None)
    if domain is None:
        return None
    if region := region_at(host):
        return partition_of(region)
    return next(one for one in PARTITIONS if domain in {one.suffix, one.dual_stack})


def region_at(host: str) -> str:
    """The region that a host name of AWS says last, "" where it says none or is not AWS's."""
    host = host.lower()
    domain = next((one for one in _DOMAINS if host.endswith("." + one)), None)
    if domain is None:
        return ""
    name = host.removesuffix("." + domain)
    found: list[str] = _in_host.findall(name) or _new_in_host.findall(name)
    return found[-1] if found else ""
