"""Kinds of stores, as data. What differs between providers is a row here, never an `if` elsewhere.

Sources: each provider's S3 compatibility pages, rclone's provider files, and what was measured on Ceph RGW 16.2,
SeaweedFS 4.48 and ministack 1.5. Where nothing is known, the careful value stands.
"""

from __future__ import annotations

import re
from enum import StrEnum
from urllib.parse import urlsplit

from dth.errors import SettingsError
from dth.partitions import SUFFIXES, partition_of
from dth.stores.base import Capabilities, KeyRules
from dth.transport.base import Origin
from dth.values import value

_MIB, _GIB, _TIB = 1 << 20, 1 << 30, 1 << 40
AMAZON_S3, S3_COMPATIBLE = "Amazon_S3", "S3_Compatible"


class PartsFrom(StrEnum):
    """Where a store tells the parts that an object was uploaded in."""

    NOWHERE = "nowhere"
    HEAD = "head"  # HEAD of part 1: its size, and how many there are
    ATTRIBUTES = "attributes"  # GetObjectAttributes: the size of each


@value
class ProviderProfile:
    """What a kind of store can do and how it wants to be asked. Sizes in bytes.

    `endpoint` is a template with `{region}`, "" where the user must name one. `hosts` are patterns of host names that
    identify the provider; their group `region` holds the region. `server` is the first word of its `Server` header.
    `url_encoding`: listings are asked with `encoding-type=url`; whether the store honoured it, its answer tells. `unsigned_over_http`: UNSIGNED-PAYLOAD is accepted on
    plain HTTP. `accept_encoding` is how it is asked
    for the bytes as they are stored. `raw_metadata`: it keeps metadata that is not ASCII as bytes; others want RFC 2047, as AWS does. `parts_from` is set only where the multipart ETags are made of the parts' MD5s. The rest as in
    `Capabilities`.
    """

    name: str
    endpoint: str = ""
    hosts: tuple[str, ...] = ()
    server: str = ""
    default_region: str = "us-east-1"
    addressing: str = "path"
    list_version: int = 2
    url_encoding: bool = True
    ordered: bool = True
    start_after: bool = True
    md5_etag: bool = True
    multipart_etag: bool = False
    checksums: tuple[str, ...] = ()
    unsigned_over_http: bool = True
    conditional_put: bool = False
    server_side_copy: bool = True
    part_min: int = 5 * _MIB
    part_max: int = 5 * _GIB
    parts_max: int = 10_000
    put_max: int = 5 * _GIB
    object_max: int = 5 * _TIB
    equal_parts: bool = False
    key_rules: KeyRules = KeyRules()
    declares_checksum: bool = False
    conditional_delete: bool = False
    keeps_tags: bool | None = None
    tells_tag_count: bool = False
    uploads_keep_tags: bool = False
    parts_from: PartsFrom = PartsFrom.NOWHERE
    copies_parts: bool = False
    assumed: bool = False
    raw_metadata: bool = False
    accept_encoding: str = "identity"


_aws_suffix = "|".join(map(re.escape, SUFFIXES))
_AWS_HOSTS = (
    rf"(?:.+\.)?s3(?:[.-](?:fips|dualstack|accelerate|accesspoint))*[.-](?P<region>(?!dualstack|accelerate)[a-z]+(?:-[a-z]+)+-\d+)\.(?:{_aws_suffix})",
    rf"(?:.+\.)?s3(?:-accelerate)?(?:\.dualstack)?\.(?:{_aws_suffix})",
    rf"(?:.+\.)?s3express-[a-z0-9-]+\.(?P<region>[a-z0-9-]+)\.(?:{_aws_suffix})",
)

PROFILES: dict[str, ProviderProfile] = {
    profile.name: profile
    for profile in (
        ProviderProfile(
            AMAZON_S3,
            endpoint="https://s3.{region}.amazonaws.com",  # the suffix follows the region's partition
            hosts=_AWS_HOSTS,
            server="AmazonS3",
            addressing="virtual",
            multipart_etag=True,
            checksums=("crc64nvme", "crc32c", "crc32", "sha256", "sha1"),
            copies_parts=True,
            parts_from=PartsFrom.HEAD,  # GetObjectAttributes is a permission of its own, and lists parts with checksums only
            conditional_put=True,
            conditional_delete=True,
            object_max=50 * _TIB,
            keeps_tags=True,
            tells_tag_count=True,
            uploads_keep_tags=True,
        ),
        ProviderProfile(
            "Aliyun_OSS",
            endpoint="https://oss-{region}.aliyuncs.com",
            hosts=(r"(?:.+\.)?(?:s3\.)?oss-(?P<region>(?!accelerate)[a-z0-9-]+?)(?:-internal)?\.aliyuncs\.com", r"(?:.+\.)?oss-accelerate(?:-overseas)?\.aliyuncs\.com"),
            server="AliyunOSS",
            default_region="oss-cn-hangzhou",
            addressing="virtual",  # path style is 403 SecondLevelDomainForbidden
            keeps_tags=False,  # not in the list of what its S3 interface has
        ),
        ProviderProfile(
            "Qiniu_Kodo",
            endpoint="https://s3.{region}.qiniucs.com",
            hosts=(r"(?:.+\.)?s3[.-](?P<region>[a-z0-9-]+)\.qiniucs\.com",),
            default_region="cn-east-1",
        ),
        ProviderProfile(
            "Tencent_COS",
            endpoint="https://cos.{region}.myqcloud.com",
            hosts=(r"(?:.+\.)?cos(?:-internal)?\.(?P<region>(?!accelerate)[a-z0-9-]+)\.(?:myqcloud|tencentcos)\.c(?:om|n)", r"(?:.+\.)?cos\.accelerate\.myqcloud\.com"),
            server="tencent-cos",
            default_region="ap-guangzhou",
            addressing="virtual",  # required for buckets made since 2024
            list_version=1,
        ),
        ProviderProfile(
            "Huawei_OBS",
            endpoint="https://obs.{region}.myhuaweicloud.com",
            hosts=(r"(?:.+\.)?obs\.(?P<region>[a-z0-9-]+)\.myhuaweicloud\.(?:com|eu|cn)",),
            server="OBS",
            default_region="cn-north-4",
            addressing="virtual",
            list_version=1,
            url_encoding=False,  # on parallel file system buckets the marker never advances with it
        ),
        ProviderProfile(
            "Baidu_BOS",
            endpoint="https://s3.{region}.bcebos.com",
            hosts=(r"(?:.+\.)?s3\.(?P<region>[a-z0-9-]+)\.bcebos\.com",),
            server="BceBos",
            default_region="bj",
            list_version=1,
            md5_etag=True,
        ),
        ProviderProfile(
            "Google_GCS",
            endpoint="https://storage.googleapis.com",
            hosts=(r"(?:.+\.)?storage\.googleapis\.com",),
            server="UploadServer",
            default_region="auto",
            accept_encoding="gzip",  # to whom asks for identity it sends what lies there as gzip decompressed
            server_side_copy=False,  # how it takes the conditions of a copy is not known
            keeps_tags=False,
        ),
        ProviderProfile(
            "Cloudflare_R2",
            hosts=(r"(?:.+\.)?[0-9a-f]{32}(?:\.(?:eu|us|fedramp))?\.r2\.cloudflarestorage\.com",),
            default_region="auto",
            equal_parts=True,
            keeps_tags=False,
            copies_parts=True,
        ),
        ProviderProfile("MinIO", server="MinIO", multipart_etag=True, keeps_tags=True, parts_from=PartsFrom.HEAD, copies_parts=True),
        # copies_parts: no, because radosgw 16.2.15 dies of an UploadPartCopy whose source's key holds a `%`
        ProviderProfile("Ceph_RGW", multipart_etag=True, keeps_tags=True, tells_tag_count=True, raw_metadata=True),  # names itself in no header
        ProviderProfile(
            "SeaweedFS",
            server="SeaweedFS",
            list_version=1,  # several paging bugs of version 2 up to 4.47
            ordered=False,
            start_after=False,
            conditional_put=True,
            checksums=("crc64nvme", "crc32c", "crc32", "sha256", "sha1"),
            copies_parts=True,
            parts_from=PartsFrom.ATTRIBUTES,  # its HEAD of a part tells of its own chunks where there are no parts
            declares_checksum=True,
            raw_metadata=True,
            keeps_tags=True,
            tells_tag_count=True,
            uploads_keep_tags=True,
            key_rules=KeyRules(
                max_segment_bytes=255,
                folds_empty_segments=True,
                refuses_dot_segments=True,
                folds_backslashes=True,
                empties_folders=True,
                markers_yield=True,
                nested_keys_race=True,
            ),
        ),
        # nothing is known: version 1 lists everywhere, one range at a time, and no ETag of parts proves anything
        ProviderProfile(S3_COMPATIBLE, list_version=1, start_after=False, assumed=True),
    )
}  # fmt: skip


def profile_named(name: str) -> ProviderProfile:
    """The profile. Raises SettingsError, naming what is known."""
    if name not in PROFILES:
        raise SettingsError(f"provider {name!r} is unknown; known are: {', '.join(PROFILES)}")
    return PROFILES[name]


def choose_profile(said: str, endpoint: str) -> ProviderProfile:
    """The profile that `src_type` or `dest_type` (`said`, "" where not given) means together with the endpoint.

    | said | endpoint | profile |
    |---|---|---|
    | - | - | Amazon_S3 |
    | - | a known host | its provider |
    | - | any other | S3_Compatible |
    | Amazon_S3 | not AWS's | as if nothing were said: the guide asks for Amazon_S3 in endpoint mode |
    | any other | any | what was said |
    """
    recognised = recognise_host(endpoint) if endpoint else PROFILES[AMAZON_S3]
    if not said or said == AMAZON_S3:
        return recognised or PROFILES[S3_COMPATIBLE]
    return profile_named(said)


def recognise_host(endpoint: str) -> ProviderProfile | None:
    """The provider whose host name the endpoint has; None for all others."""
    host = urlsplit(with_scheme(endpoint)).hostname or ""
    return next((profile for profile in PROFILES.values() if _match(profile, host)), None)


def recognise_server(header: str) -> ProviderProfile | None:
    """The provider that an answer's `Server` header names by its first word; None where it names none. Ceph sends no such
    header, and `cloudflare` says only who stands in front."""
    word = re.split(r"[ /]", header, maxsplit=1)[0].lower()
    return next((profile for profile in PROFILES.values() if profile.server and profile.server.lower() == word), None)


def with_scheme(endpoint: str) -> str:
    """The endpoint as a URL: `https://` where it has no scheme."""
    return endpoint if "://" in endpoint else f"https://{endpoint}"


def endpoint_of(profile: ProviderProfile, endpoint: str, region: str) -> str:
    """The URL to talk to: the given endpoint, else the provider's for `region`. Raises SettingsError where there is
    neither."""
    if endpoint:
        return with_scheme(endpoint)
    if not profile.endpoint:
        raise SettingsError(f"provider {profile.name} needs an endpoint: set src_endpoint or dest_endpoint")
    region = region or profile.default_region
    if profile.name == AMAZON_S3:
        return "https://" + partition_of(region).host("s3", region)
    return profile.endpoint.format(region=region.removeprefix("oss-"))


def region_in(profile: ProviderProfile, endpoint: str) -> str:
    """The region that the endpoint's host name says, "" where it says none."""
    match = _match(profile, urlsplit(with_scheme(endpoint)).hostname or "")
    return (match.groupdict().get("region") or "") if match else ""


def origin_of(endpoint: str) -> Origin:
    """Scheme, host and port of an endpoint. Raises SettingsError for one that has a path, query or credentials in it."""
    parts = urlsplit(with_scheme(endpoint))
    try:
        port = parts.port
    except ValueError as exc:
        raise SettingsError(f"endpoint {endpoint!r}: the port is no number up to 65535") from exc
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise SettingsError(f"endpoint {endpoint!r} is no http:// or https:// URL")
    if parts.username is not None or parts.query or parts.fragment or parts.path.strip("/"):
        raise SettingsError(f"endpoint of {parts.hostname!r} must be scheme, host and port alone, without path or user")
    return Origin(parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80))


def capabilities(profile: ProviderProfile, scheme: str, bucket: str = "") -> Capabilities:
    """What the engine may count on at this endpoint. A directory bucket (S3 Express) lists unordered and its ETags are
    no MD5s, whatever the profile says."""
    express = bucket.endswith("--x-s3")
    return Capabilities(
        provider=profile.name,
        ordered=profile.ordered and not express,
        start_after=profile.start_after and not express,
        md5_etag=profile.md5_etag and not express,
        multipart_etag=profile.multipart_etag and not express,
        checksums=profile.checksums,
        needs_payload_hash=scheme == "http" and not profile.unsigned_over_http,
        conditional_put=profile.conditional_put,
        server_side_copy=profile.server_side_copy,
        part_min=profile.part_min,
        part_max=profile.part_max,
        parts_max=profile.parts_max,
        put_max=profile.put_max,
        object_max=profile.object_max,
        equal_parts=profile.equal_parts,
        key_rules=profile.key_rules,
        declares_checksum=profile.declares_checksum,
        conditional_delete=profile.conditional_delete,
        keeps_tags=profile.keeps_tags and not express,
        tells_tag_count=profile.tells_tag_count,
        uploads_keep_tags=profile.uploads_keep_tags,
        copies_parts=profile.copies_parts,
        assumed=profile.assumed,
        tells_parts=profile.parts_from is not PartsFrom.NOWHERE and not express,
    )


def _match(profile: ProviderProfile, host: str) -> re.Match[str] | None:
    """A pattern is compiled only where it names the host's domain, which each of them spells out: most hosts are nobody's."""
    domain = host.split(".")[-2:-1]
    named = [pattern for pattern in profile.hosts if domain and domain[0] in pattern.replace("\\", "")]
    return next((match for pattern in named if (match := re.fullmatch(pattern, host))), None)
