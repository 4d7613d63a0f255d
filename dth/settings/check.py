"""What single values cannot show: settings that contradict each other, or whose feature does not exist yet. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC
from urllib.parse import urlsplit

from dth.partitions import partition_at, partition_of
from dth.settings.identity import mapping
from dth.settings.transfer import NOT_YET, JobBase, TransferJob, settings_of
from dth.settings.urls import folder, is_loopback, metrics_address

KEY_ITSELF = re.compile(
    r"\s*[{]|.*\b(AKIA|ASIA|LTAI)[A-Za-z0-9]{12,}|(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9])[A-Za-z0-9/+]{40}=?\s*$"
)
"""An access key, a document with keys, or 40 characters as AWS's secret keys have them."""
_TABLE_ROW_BYTES = 384 * 1024  # an item holds 400 KiB
_LAST_PORT = 65_535
_NEEDS_ENDPOINT = {"MinIO", "Ceph_RGW", "SeaweedFS", "S3_Compatible"}
_NEEDS_REGION = {"Aliyun_OSS", "Tencent_COS", "Qiniu_Kodo", "Huawei_OBS", "Baidu_BOS"}


def problems(job: TransferJob, origins: Mapping[str, str]) -> list[str]:
    """One line for each problem, none when the job may start. `origins` says where settings came from."""
    found = _not_yet(job, origins)
    for side in ("src", "dest"):
        found += _one_side(job, side)
    if job.dest_sse_kms_key_id and job.dest_sse != "AWS_KMS":
        found.append(
            f"dest_sse_kms_key_id{_from(origins, 'dest_sse_kms_key_id')} contradicts dest_sse = {job.dest_sse!r}"
            f"{_from(origins, 'dest_sse')}: a key id needs dest_sse = 'AWS_KMS'"
        )
    if job.skip_compare and job.compare != "auto":
        found.append(
            f"skip_compare{_from(origins, 'skip_compare')} contradicts compare = {job.compare!r}"
            f"{_from(origins, 'compare')}: set one of them"
        )
    if not job.restore:
        unused = {"restore_days", "restore_tier"} & origins.keys()
        found += [
            f"{name}{_from(origins, name)} says how to restore, but restore is not set" for name in sorted(unused)
        ]
    if job.lease_seconds > job.lease_cap_seconds:
        found.append(
            f"lease_seconds = {job.lease_seconds:g}{_from(origins, 'lease_seconds')} is more than "
            f"lease_cap_seconds = {job.lease_cap_seconds:g}{_from(origins, 'lease_cap_seconds')}"
        )
    found += shared_problems(job, origins)
    return found + _selection(job, origins) + _lists(job, origins) + _deletes(job, origins) + _overlap(job)


def shared_problems(job: JobBase, origins: Mapping[str, str]) -> list[str]:
    """What is wrong with the queue and the table that machines share."""
    found = [
        f"{name} is a URL without a user or password: credentials come from the environment"
        for name in ("queue", "event_queue")
        if "@" in str(getattr(job, name, "")).partition("://")[2].partition("/")[0]
    ]
    if job.metrics and not job.metrics_open:
        host, _ = metrics_address(job.metrics)
        if not is_loopback(host):
            found.append(
                f"metrics = {job.metrics}{_from(origins, 'metrics')} lets other machines read them: set metrics_open where that "
                "is meant, or give the port alone"
            )
    if job.metrics and metrics_address(job.metrics)[1] > _LAST_PORT:
        found.append(f"metrics = {job.metrics}{_from(origins, 'metrics')}: ports end at {_LAST_PORT}")
    if bool(job.queue) != bool(job.table):
        there, missing = ("queue", "table") if job.queue else ("table", "queue")
        found.append(
            f"{there}{_from(origins, there)} needs {missing} as well: machines that share one must share the other; "
            "`dth init` makes both"
        )
    if job.table and job.message_bytes > _TABLE_ROW_BYTES:
        found.append(
            f"message_bytes = {job.message_bytes}{_from(origins, 'message_bytes')} is more than {_TABLE_ROW_BYTES}: a row "
            "of a DynamoDB table must be able to hold what remains of a message"
        )
    return found


def _selection(job: TransferJob, origins: Mapping[str, str]) -> list[str]:
    """Rules that take nothing."""
    found = []
    if job.max_size is not None and job.min_size > job.max_size:
        found.append(
            f"min_size = {job.min_size}{_from(origins, 'min_size')} is more than max_size = {job.max_size}"
            f"{_from(origins, 'max_size')}: no object is both"
        )
    after, before = (
        time and (time if time.tzinfo else time.replace(tzinfo=UTC))
        for time in (job.modified_after, job.modified_before)
    )
    if after and before and after >= before:
        found.append(
            f"modified_after{_from(origins, 'modified_after')} is not before modified_before"
            f"{_from(origins, 'modified_before')}: no object is both"
        )
    return found


def _lists(job: TransferJob, origins: Mapping[str, str]) -> list[str]:
    found = []
    if job.from_file and job.src_prefix_list:
        found.append(
            f"from_file{_from(origins, 'from_file')} contradicts src_prefix_list{_from(origins, 'src_prefix_list')}: both "
            "name what to copy; set one of them"
        )
    if job.src_prefix_list_bucket and not job.src_prefix_list:
        found.append(f"src_prefix_list_bucket{_from(origins, 'src_prefix_list_bucket')} needs src_prefix_list")
    if job.from_file and job.delete:
        found.append(
            f"from_file{_from(origins, 'from_file')} contradicts delete{_from(origins, 'delete')}: a list says what to "
            "copy, not what the source lacks"
        )
    return found


def _deletes(job: TransferJob, origins: Mapping[str, str]) -> list[str]:
    """Deletes need both listings, and a place aside that is no side's own."""
    found = []
    if not job.delete:
        unused = [name for name in ("max_delete", "delete_to", "delete_from_empty") if getattr(job, name)]
        return [f"{name}{_from(origins, name)} says how to delete, but delete is not set" for name in unused]
    if job.skip_compare:
        found.append(
            f"skip_compare{_from(origins, 'skip_compare')} contradicts delete{_from(origins, 'delete')}: what the source "
            "lacks is known only from comparing"
        )
    if job.delete_to:
        aside, shown = folder(job.delete_to), f"delete_to = {job.delete_to!r}{_from(origins, 'delete_to')}"
        if "://" in aside:
            found.append(f"{shown} is a folder of the destination's bucket, not a URL")
        if _overlaps(aside, mapping(job).dest_listing_prefix):
            found.append(f"{shown} overlaps the destination: choose a folder outside of it")
        elif job.src_bucket == job.dest_bucket and _same_store(job) and _overlaps(aside, mapping(job).source_prefix):
            found.append(f"{shown} overlaps the source: choose a folder outside of it")
    return found


def _overlaps(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


def _from(origins: Mapping[str, str], name: str) -> str:
    return f" (from {origins[name]})" if name in origins else ""


def _not_yet(job: TransferJob, origins: Mapping[str, str]) -> list[str]:
    found = []
    for rule, feature in NOT_YET.items():
        name, _, value = rule.partition("=")
        now = getattr(job, name)
        if now == value if value else now != settings_of(TransferJob)[name].default:
            found.append(f"{rule}{_from(origins, name)} is not available in this version: {feature} is not there yet")
    return found


def _one_side(job: TransferJob, side: str) -> list[str]:
    bucket, kind, endpoint, region, secret, profile = (
        str(getattr(job, f"{side}_{name}"))
        for name in ("bucket", "type", "endpoint", "region", "credentials", "profile")
    )
    found = []
    if KEY_ITSELF.match(secret):  # the value is not shown: it may be one
        found.append(f"{side}_credentials takes the name of a secret or `anonymous`, never the keys themselves")
    if secret and profile:
        found.append(f"{side}_credentials and {side}_profile both say whose keys to use: set one of them")
    if not endpoint and kind in _NEEDS_ENDPOINT:
        found.append(f"{side}_type = {kind!r} needs {side}_endpoint: it has no address of its own")
    if bucket.endswith("--x-s3") and (not endpoint or partition_at(urlsplit(endpoint).hostname or "")):
        found.append(f"{side}_bucket = {bucket!r} is a directory bucket (S3 Express), which this version cannot open")
    if not endpoint and not region and kind in _NEEDS_REGION:
        found.append(f"{side}_type = {kind!r} needs {side}_region or {side}_endpoint: its addresses hold the region")
    return found


def _overlap(job: TransferJob) -> list[str]:
    """A job whose sides contain each other would copy its own copies, or overwrite what it still has to read."""
    if not job.src_bucket or job.src_bucket != job.dest_bucket or not _same_store(job):
        return []
    read, written = mapping(job).source_prefix, mapping(job).dest_listing_prefix
    if not read.startswith(written) and not written.startswith(read):
        return []
    source, target = f"s3://{job.src_bucket}/{read}", f"s3://{job.dest_bucket}/{written}"
    if source == target:
        return [f"source and destination are the same place: {source}"]
    contains = f"one side contains the other: objects are read below {source} and written below {target}"
    return [f"{contains}; choose a prefix outside, or name endpoints or regions where these are different stores"]


def _same_store(job: TransferJob) -> bool:
    """Whether both sides may be one store. Of AWS's the partitions decide; an unknown one may be any."""
    sides = [(job.src_type, job.src_endpoint, job.src_region), (job.dest_type, job.dest_endpoint, job.dest_region)]
    source, target = (_store(*side) for side in sides)
    return source == target or (
        _ANY_PARTITION in {source, target} and all(one.startswith("aws") for one in (source, target))
    )


_ANY_PARTITION = "aws?"


def _store(kind: str, endpoint: str, region: str) -> str:
    """What stands for the store: the partition of AWS's, a provider without an endpoint, or the endpoint."""
    if endpoint:
        found = partition_at(urlsplit(endpoint).hostname or "")
        return found.id if found else endpoint.lower()
    if kind not in {"", "Amazon_S3"}:
        return kind
    return partition_of(region).id if region else _ANY_PARTITION
