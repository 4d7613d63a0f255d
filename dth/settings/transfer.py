"""The settings of a job, each declared once: name, type, bound, default, help. Nothing else in dth holds a default.

Sizes are bytes, durations seconds. "" and 0 mean "not set" where the help says so.
"""

# ruff: noqa: FBT003 - a setting's default stands first, whatever its type

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

from dth.settings.fields import Endpoint, ProxyUrl, Setting, Size, TextList, describe, setting
from dth.settings.urls import BUCKET_PATTERN, BUCKET_RULE, METRICS_PATTERN, METRICS_RULE

MiB = 1024**2
GiB = 1024**3
TiB = 1024**4

StoreType = Literal[
    "", "Amazon_S3", "Aliyun_OSS", "Tencent_COS", "Qiniu_Kodo", "Huawei_OBS", "Baidu_BOS", "Google_GCS",
    "Cloudflare_R2", "MinIO", "Ceph_RGW", "SeaweedFS", "S3_Compatible",
]  # fmt: skip
Addressing = Literal["", "path", "virtual"]
Acl = Literal[
    "", "private", "public-read", "public-read-write", "authenticated-read", "aws-exec-read", "bucket-owner-read",
    "bucket-owner-full-control",
]  # fmt: skip

_source = partial(setting, scope="job", panel="Source")
_destination = partial(setting, scope="job", panel="Destination")
_selection = partial(setting, scope="job", panel="Selection")
_compare = partial(setting, scope="job", panel="Compare")
_copy = partial(setting, scope="job", panel="Copy")
_limits = partial(setting, scope="process", panel="Limits")
_state = partial(setting, scope="process", panel="State and report")
_metrics = partial(setting, scope="process", panel="Metrics and logs")

_BUCKET = rf"^$|^{BUCKET_PATTERN}$"
_CLASS = r"^[A-Z0-9_]*$"
_QUEUE = r"^$|^https?://[^/\s]+/\S+$|^(?:arn:[a-z-]+:sqs:[a-z0-9-]+:[0-9]{12}:)?[A-Za-z0-9_-]{1,80}(?:\.fifo)?$"
_TABLE = r"^$|^(?:arn:[a-z-]+:dynamodb:[a-z0-9-]+:[0-9]{12}:table/)?[A-Za-z0-9_.-]{1,255}$"
_JOB_ID = r"^$|^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


def default_state(environ: Mapping[str, str]) -> Path:
    """`$XDG_STATE_HOME/dth`, else `~/.local/state/dth` (XDG Base Directory Specification)."""
    base = environ.get("XDG_STATE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".local" / "state") / "dth"


def _number_as_text(value: object) -> object:
    """Job files write plain numbers."""
    return str(value) if isinstance(value, int) else value


class JobBase(BaseModel):
    """What every kind of job has."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=False,
        hide_input_in_errors=True,
        defer_build=True,  # a command checks the settings of one kind of job, help those of none
    )

    job_id: str = setting(
        "", "Job id", "Name of the job; empty: a hash of both locations and the key mapping.",
        scope="job", panel="State and report", pattern=_JOB_ID,
        allowed="1 to 64 letters, digits, dots, dashes or underscores",
    )  # fmt: skip
    state: Path = _state(
        lambda: default_state(os.environ), "State directory", "Directory of the embedded queue, ledger and reports."
    )
    queue: str = _state(
        "", "Queue", "Name, URL or ARN of the SQS queue; empty: an embedded queue in the state directory.",
        pattern=_QUEUE, allowed="a queue's name, URL or ARN",
    )  # fmt: skip
    table: str = _state(
        "", "Table", "Name or ARN of the DynamoDB table; empty: an embedded ledger in the state directory.",
        pattern=_TABLE, allowed="a table's name or ARN",
    )  # fmt: skip
    report: str = _state("", "Report", "File of the report, one JSON line an object; empty: in the state directory.")
    report_level: Literal["", "all", "failed"] = _state(
        "",
        "Report level",
        "Report all objects, or only those that failed; empty: all with --report, else failed.",
    )
    ledger_records: Literal["message", "object"] = _state(
        "message",
        "Ledger records",
        "Keep a ledger row per message, or also one per object, so that you can query them.",
    )
    metrics: str = _metrics(
        "", "Metrics", "Where Prometheus reads metrics: HOST:PORT, or a PORT of 127.0.0.1; empty: nowhere.",
        pattern=METRICS_PATTERN, allowed=METRICS_RULE,
    )  # fmt: skip
    metrics_open: bool = _metrics(
        False,
        "Open metrics",
        "Let other machines read the metrics; needed unless HOST is an address of this machine only.",
    )
    metrics_emf: str = _metrics(
        "", "Embedded metrics",
        "File to which metrics are appended as lines in CloudWatch's embedded metric format; `-`: standard output.",
    )  # fmt: skip
    log: Literal["text", "json"] = _metrics(
        "text", "Log", "How standard error is written: for people, or as JSON with one line for each transfer."
    )
    overlap: bool = _state(False, "Overlap", "Start although another run of this job is still under way.")
    processes: int = _limits(0, "Processes", "Worker processes; 0: one per core.", ge=0, le=256)
    memory_budget: Size = _limits(
        256 * MiB, "Memory budget", "Bytes of objects that one worker process may hold.", ge=MiB, le=TiB
    )
    bandwidth: Size = _limits(
        0, "Bandwidth", "Bytes of objects to read a second, shared equally by the worker processes; 0: no limit.",
        ge=0, le=TiB,
    )  # fmt: skip
    lease_seconds: float = _limits(
        120.0, "Lease", "Seconds for which a message, run or upload is held between heartbeats.", ge=1, le=43_200
    )
    lease_cap_seconds: float = _limits(
        43_200.0,
        "Lease cap",
        "Seconds after which a worker hands over what it still holds under one lease.",
        ge=1,
        le=43_200,
    )
    grace_seconds: float = _limits(
        25.0, "Grace", "Seconds that work in flight has to finish when asked to stop.", ge=0, le=3600
    )
    stall_seconds: float = _limits(
        300.0,
        "Stall",
        "Seconds after which a silent worker is replaced, and an empty queue means that messages got lost.",
        ge=1,
        le=43_200,
    )
    max_attempts: int = _limits(5, "Attempts", "Failures after which an object ends as failed.", ge=1, le=100)
    receive_limit: int = _limits(
        20,
        "Receive limit",
        "Deliveries after which a message is a dead letter; SQS may have a lower limit of its own.",
        ge=1,
        le=1000,
    )
    high_water: int = _limits(
        10_000, "High water", "Messages in the queue above which the finder waits.", ge=1, le=10_000_000
    )
    message_bytes: Size = _limits(
        262_144, "Message size", "Most bytes of one queue message, and of one batch.", ge=8192, le=MiB
    )
    connect_seconds: float = _limits(10.0, "Connect timeout", "Seconds for a connection to open.", ge=0.1, le=600)
    first_byte_seconds: float = _limits(
        60.0, "First-byte timeout", "Seconds from a request's end to the answer's first byte.", ge=0.1, le=3600
    )
    idle_seconds: float = _limits(
        60.0, "Idle timeout", "Seconds of silence after which a body counts as lost.", ge=0.1, le=3600
    )
    ca_bundle: str = _limits(
        "", "CA bundle", "File of trusted certificates; empty: AWS_CA_BUNDLE, SSL_CERT_FILE, else the system's."
    )


class TransferJob(JobBase):
    """Everything that copying objects between two buckets can be told."""

    src_bucket: str = _source(
        "", "Bucket", "Bucket to read from.", guide="srcBucket", pattern=_BUCKET, allowed=BUCKET_RULE
    )
    src_prefix: str = _source(
        "", "Prefix", "Only keys that start with this text (not a folder: `a` takes `ab` too).", guide="srcPrefix"
    )
    src_type: StoreType = _source(
        "", "Kind of store", "Provider profile; empty: chosen by the endpoint, AWS without one.", guide="srcType"
    )
    src_endpoint: Endpoint = _source(
        "", "Endpoint", "URL of the store (https:// where no scheme is given); empty: the provider's.",
        guide="srcEndpoint",
    )  # fmt: skip
    src_region: str = _source("", "Region", "Region of the bucket; empty: discovered.", guide="srcRegion")
    src_credentials: str = _source(
        "", "Credentials", "Name of a secret, or `anonymous` for unsigned requests; empty: the ambient chain.",
        guide="srcCredentials",
    )  # fmt: skip
    src_profile: str = _source("", "AWS profile", "Section of the AWS configuration whose credentials to use.")
    src_addressing: Addressing = _source("", "Addressing", "How URLs name the bucket; empty: the provider's way.")
    src_request_payer: bool = _source(
        False, "Requester pays", "Pay for the requests to a requester-pays bucket.", guide="isPayerRequest"
    )
    src_proxy: ProxyUrl = setting(
        "", "Proxy", "HTTP proxy to the source's store: http://[user:password@]host:port.",
        scope="process", panel="Source",
    )  # fmt: skip

    dest_bucket: str = _destination(
        "", "Bucket", "Bucket to write to.", guide="destBucket", pattern=_BUCKET, allowed=BUCKET_RULE
    )
    dest_prefix: str = _destination(
        "", "Prefix", "Put before every key, followed by a `/` if it does not end in one.", guide="destPrefix"
    )
    dest_type: StoreType = _destination(
        "", "Kind of store", "Provider profile; empty: chosen by the endpoint, AWS without one."
    )
    dest_endpoint: Endpoint = _destination(
        "", "Endpoint", "URL of the store (https:// where no scheme is given); empty: the provider's."
    )
    dest_region: str = _destination("", "Region", "Region of the bucket; empty: discovered.", guide="destRegion")
    dest_credentials: str = _destination(
        "", "Credentials", "Name of a secret, or `anonymous` for unsigned requests; empty: the ambient chain.",
        guide="destCredentials",
    )  # fmt: skip
    dest_profile: str = _destination("", "AWS profile", "Section of the AWS configuration whose credentials to use.")
    dest_addressing: Addressing = _destination("", "Addressing", "How URLs name the bucket; empty: the provider's way.")
    dest_proxy: ProxyUrl = setting(
        "", "Proxy", "HTTP proxy to the destination's store: http://[user:password@]host:port.",
        scope="process", panel="Destination",
    )  # fmt: skip
    dest_storage_class: str = _destination(
        "", "Storage class", "Storage class of new objects; empty: the bucket's own.", guide="destStorageClass",
        pattern=_CLASS, allowed="capital letters, digits and underscores, such as STANDARD_IA",
    )  # fmt: skip
    dest_acl: Acl = _destination("", "ACL", "Canned ACL of new objects; empty: none is sent.", guide="destAcl")
    dest_sse: Literal["None", "AES256", "AWS_KMS"] = _destination(
        "None", "Encryption", "Server-side encryption to ask for; None: the bucket's own.", guide="destPutObjectSSEType"
    )
    dest_sse_kms_key_id: str = _destination(
        "", "KMS key", "Id of the key for AWS_KMS; empty: the account's default key.", guide="destPutObjectSSEKmsKeyId"
    )
    strip_src_prefix: bool = _destination(
        False,
        "Strip the source prefix",
        "Replace the source's prefix with the destination's, instead of adding it to the key.",
    )

    src_prefix_list: str = _selection(
        "", "Prefix list", "Key of a file with one prefix a line; wins over the prefix.", guide="srcPrefixsListFile"
    )
    src_prefix_list_bucket: str = _selection(
        "", "Bucket of the prefix list", "Bucket of that file; empty: the source bucket.", guide="srcPrefixListBucket"
    )
    src_event: Literal["No", "Create", "CreateAndDelete"] = _selection(
        "No", "Events", "Which of the source's event messages workers act on.", guide="srcEvent"
    )
    include: TextList = _selection(
        (), "Include", "Only names below the prefix that match one of these patterns (`*` takes `/` too)."
    )
    exclude: TextList = _selection((), "Exclude", "No names that match one of these patterns, even if included.")
    min_size: Size = _selection(0, "Smallest", "Only objects of at least this many bytes.", ge=0)
    max_size: Size | None = _selection(None, "Largest", "Only objects of at most this many bytes.", ge=0)
    modified_after: datetime | None = _selection(None, "Modified after", "Only objects modified at or after this time.")
    modified_before: datetime | None = _selection(None, "Modified before", "Only objects modified before this time.")
    storage_classes: TextList = _selection((), "Storage classes", "Only objects of these storage classes.")
    from_file: str = _selection(
        "", "Keys from a file",
        "Only keys (and prefixes ending in `/`) that this list names: a file, `s3://bucket/key`, or `-`.",
    )  # fmt: skip

    compare: Literal["auto", "size", "mtime", "etag", "checksum"] = _compare(
        "auto", "Compare by", "What decides that an object differs; auto: size, then ETag where comparable, then time."
    )
    skip_compare: bool = _compare(
        False, "Skip comparing", "Send every source object without listing the destination.", guide="srcSkipCompare"
    )
    delete: bool = _compare(False, "Delete", "Delete objects of the destination that the source lacks.")
    max_delete: Annotated[str | None, BeforeValidator(_number_as_text)] = _compare(
        None, "Most deletes",
        "Delete nothing if it would be more than this: a number, or a share of the destination's objects such as 10%.",
        pattern=r"^[0-9]{1,18}$|^[0-9]{1,3}(\.[0-9]{1,6})?%$", allowed="a number of objects, or a share such as 10%",
    )  # fmt: skip
    delete_from_empty: bool = _compare(False, "Delete from empty", "Delete even if the source lists no object at all.")
    delete_to: str = _compare(
        "", "Delete to", "Folder of the destination's bucket to which objects are moved instead of being deleted."
    )

    include_metadata: bool = _copy(True, "Metadata", "Copy content headers and user metadata.", guide="includeMetadata")
    tags: bool = _copy(False, "Tags", "Copy object tags too; a change of tags alone is not noticed.")
    verify: Literal["off", "transfer", "full"] = _copy(
        "transfer",
        "Verify",
        "What proves the bytes: lengths (off), whatever costs next to nothing (transfer), or everything (full).",
    )
    no_clobber: bool = _copy(False, "No clobber", "Never overwrite an object that is there.")
    restore: bool = _copy(False, "Restore", "Ask the source to restore archived objects; a run after that copies them.")
    restore_days: int = _copy(10, "Restore days", "Days for which a restored object stays readable.", ge=1, le=3650)
    restore_tier: Literal["Bulk", "Standard", "Expedited"] = _copy(
        "Standard", "Restore tier", "How fast, and at what price, restores are made."
    )
    server_side_copy: bool = _copy(
        True, "Server-side copy", "Let the store copy by itself if both sides have the same endpoint and credentials."
    )
    multipart_threshold: Size = _copy(
        16 * MiB, "Multipart threshold", "Objects above this many bytes are copied in parts.", ge=1, le=5 * GiB
    )
    part_size: Size = _copy(
        0, "Part size", "Bytes of a part; 0: as the source's parts and the stores' limits suggest.", ge=0, le=5 * GiB
    )
    giant_threshold: Size = _copy(
        GiB,
        "Giant threshold",
        "Objects above this many bytes are moved by all workers at once.",
        ge=5 * MiB,
        le=50 * TiB,
    )

    finder_number: int = _limits(
        0,
        "Listers",
        "Listing requests in flight per side, if the store can start a listing at any key; 0: adaptive.",
        guide="finderNumber",
        ge=0,
        le=256,
    )
    finder_depth: int = _limits(
        0, "Finder depth", "Hint for the first split of the key space; any value finds all objects.", guide="finderDepth",
        ge=0, le=100,
    )  # fmt: skip
    event_silence_seconds: float = _limits(
        0.0, "Silence", "A worker warns after this many seconds without an event of the source; 0: never.",
        ge=0, le=31_536_000,
    )  # fmt: skip
    plan_rate: Size = _limits(
        0, "Rate of a plan",
        "Bytes a second from which a dry run estimates the duration; 0: the bandwidth, else 1 Gbit/s.",
        ge=0, le=TiB,
    )  # fmt: skip
    max_cost: float = _limits(
        0.0,
        "Most cost",
        "List first, and copy nothing if the plan would cost more than this many US dollars; 0: no limit.",
        ge=0,
        le=1e9,
    )
    worker_number: int = _limits(
        0, "Objects in flight", "Objects in flight per process; 0: adaptive.", guide="workerNumber", ge=0, le=1000
    )
    event_queue: str = _state(
        "", "Event queue",
        "URL of a separate SQS queue for object events; their senders then need no right on the work queue.",
    )  # fmt: skip
    allow: TextList = _limits(
        (), "Allow",
        "Hosts (or `host/bucket`; `*` matches anything) that workers may send requests to; empty: whatever the runs say.",
    )  # fmt: skip
    pack_objects: int = _limits(
        1000, "Objects a message",
        "Most small objects in one message. A run begins with 100 a message, so that all workers share a small one.",
        ge=1, le=1000,
    )  # fmt: skip
    pack_bytes: Size = _limits(
        16 * MiB, "Bytes a message", "Most bytes of objects in a message that holds several.", ge=1, le=GiB
    )
    sort_memory: Size = _limits(
        256 * MiB, "Sort memory", "Bytes that sorting an unordered listing may hold.", ge=MiB, le=TiB
    )


NOT_YET: dict[str, str] = {}
"""Settings whose feature does not exist in this version: setting them is an error, because ignoring them would be a
silent lie. `name`: any value but the default; `name=value`: that value. They stay out of the help."""


@cache
def settings_of(model: type[JobBase]) -> Mapping[str, Setting]:
    """The model's settings by name, in the order in which they are declared."""
    return {name: describe(name, info) for name, info in model.model_fields.items()}
