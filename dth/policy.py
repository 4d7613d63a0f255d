"""What each part of a fleet must be allowed on AWS: IAM policies made from a job's own settings, and nothing beyond them."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from dth.partitions import partition_at, partition_of, region_at
from dth.settings import TransferJob, folder
from dth.settings.identity import dest_location, mapping, source_location

AMAZON_S3 = "Amazon_S3"
DEAD = "-dead"  # what `dth init` calls the dead-letter queue
ANY = "*"  # for a region or an account that the settings do not tell


class Role(StrEnum):
    """Who runs what."""

    FINDER = "finder"
    WORKER = "worker"
    MULTIPART = "multipart"  # complete-multipart and redrive
    OPERATOR = "operator"  # status and limit
    IMAGES = "images"  # ecr-sync
    HUB = "hub"  # on one machine: sync, verify and probe, without a queue or a table


QUEUE = {
    Role.FINDER: ("GetQueueAttributes", "SendMessage"),
    Role.WORKER: ("ChangeMessageVisibility", "DeleteMessage", "GetQueueAttributes", "ReceiveMessage", "SendMessage"),
    Role.MULTIPART: ("GetQueueAttributes", "SendMessage"),
    Role.OPERATOR: ("GetQueueAttributes",),
}
DEAD_LETTERS = {
    Role.FINDER: ("GetQueueAttributes",),
    Role.WORKER: ("ChangeMessageVisibility", "GetQueueAttributes", "ReceiveMessage", "SendMessage"),
    Role.MULTIPART: ("ChangeMessageVisibility", "DeleteMessage", "GetQueueAttributes", "ReceiveMessage"),
    Role.OPERATOR: ("GetQueueAttributes",),
}
_WRITES = ("DeleteItem", "DescribeTable", "GetItem", "PutItem", "Query", "UpdateItem")
TABLE = {
    Role.FINDER: _WRITES,
    Role.WORKER: _WRITES,
    Role.MULTIPART: _WRITES,
    Role.OPERATOR: ("DescribeTable", "GetItem", "PutItem", "Query"),
}
_UPLOADS = ("AbortMultipartUpload", "ListMultipartUploadParts", "PutObject")
_WRITERS = (Role.WORKER, Role.MULTIPART, Role.HUB)
_PULL = ("BatchGetImage", "GetDownloadUrlForLayer")
_PUSH = ("BatchCheckLayerAvailability", "CompleteLayerUpload", "InitiateLayerUpload", "PutImage", "UploadLayerPart")
_ECR_SOURCE = (*_PULL, "DescribeImages", "DescribeRepositories", "GetLifecyclePolicy", "ListTagsForResource")
_ECR_DEST = (
    *_PULL,
    *_PUSH,
    "CreateRepository",
    "DescribeImages",
    "DescribeRepositories",
    "PutLifecyclePolicy",
    "TagResource",
)


def policy(role: Role, job: TransferJob) -> dict[str, Any]:
    """The document for `role`: an IAM policy of version 2012-10-17. What is not on AWS gets no statement; what the settings
    leave open (an account, say) is `*` in its ARN. A key of yours that a secret is encrypted with is left to who keeps it."""
    statements = [*_services(role, job), *_buckets(role, job), *_keys(role, job), *_secrets(role, job)]
    if role is Role.IMAGES:
        statements += _images(job)
    return {"Version": "2012-10-17", "Statement": [one for one in statements if one["Action"]]}


def _statement(sid: str, service: str, actions: Iterable[str], *resources: str, **more: Any) -> dict[str, Any]:
    return {
        "Sid": sid,
        "Effect": "Allow",
        "Action": [f"{service}:{action}" for action in sorted(actions)],
        "Resource": list(resources),
        **more,
    }


def _services(role: Role, job: TransferJob) -> list[dict[str, Any]]:
    """Queue, dead letters and table, where the job has them."""
    found = []
    partition, region, account, name = queue_parts(job.queue)
    partition = partition or partition_of(job.src_region or job.dest_region).id
    if job.queue and role in QUEUE:
        arn = f"arn:{partition}:sqs:{region}:{account}:{name}"
        looked_up = () if "://" in job.queue else ("GetQueueUrl",)
        found.append(_statement("Queue", "sqs", (*QUEUE[role], *looked_up), arn))
        found.append(_statement("DeadLetters", "sqs", DEAD_LETTERS[role], arn + DEAD))
    if job.table and role in TABLE:
        rows = ("BatchWriteItem",) if job.ledger_records == "object" and role is Role.WORKER else ()
        arn = (
            job.table
            if job.table.startswith("arn:")
            else f"arn:{partition}:dynamodb:{region}:{account}:table/{job.table}"
        )
        found.append(_statement("Ledger", "dynamodb", (*TABLE[role], *rows), arn))
    return found


def queue_parts(queue: str) -> tuple[str, str, str, str]:
    """(partition, region, account, name) of a queue's URL, ARN or name; for what that does not tell, `*` (partition: "")."""
    if queue.startswith("arn:"):
        _, partition, _, region, account, name = queue.split(":", 5)
        return partition, region, account, name
    if "://" not in queue:
        return "", ANY, ANY, queue
    parts = urlsplit(queue)
    host, (account, name) = parts.hostname or "", parts.path.strip("/").split("/")[-2:]
    found = partition_at(host)
    return (found.id if found else ""), (region_at(host) or ANY), account, name


def _buckets(role: Role, job: TransferJob) -> list[dict[str, Any]]:
    """Both sides, where they are buckets of Amazon S3."""
    if role in {Role.OPERATOR, Role.IMAGES}:
        return []
    source, dest = source_location(job), dest_location(job)
    found = []
    if job.src_bucket and source.provider == AMAZON_S3:
        bucket = partition_of(job.src_region).arn("s3", job.src_bucket)
        found.append(_listing("SourceBucket", ("ListBucket",), bucket, job.src_prefix))
        found.append(_statement("SourceObjects", "s3", _source_objects(role, job), f"{bucket}/{job.src_prefix}*"))
    if job.dest_bucket and dest.provider == AMAZON_S3:
        bucket = partition_of(job.dest_region).arn("s3", job.dest_bucket)
        prefix = mapping(job).dest_listing_prefix
        found.append(_listing("DestinationBucket", ("ListBucket",), bucket, prefix))
        if role in _WRITERS:
            found.append(_statement("DestinationUploads", "s3", ("ListBucketMultipartUploads",), bucket))
        found.append(_statement("DestinationObjects", "s3", _dest_objects(role, job), f"{bucket}/{prefix}*"))
        if role in _WRITERS and job.delete_to:
            kept = _dest_objects(role, job) - {"DeleteObject"}
            found.append(_statement("MovedObjects", "s3", kept, f"{bucket}/{folder(job.delete_to)}*"))
    return found


def _listing(sid: str, actions: tuple[str, ...], bucket: str, prefix: str) -> dict[str, Any]:
    """Listing is a right on the bucket; with a prefix it is bounded by a condition."""
    more = {"Condition": {"StringLike": {"s3:prefix": [f"{prefix}*"]}}} if prefix else {}
    return _statement(sid, "s3", actions, bucket, **more)


def _source_objects(role: Role, job: TransferJob) -> set[str]:
    found = {"GetObject"} if role in _WRITERS or job.compare == "checksum" else set()
    if job.tags and role in _WRITERS:
        found.add("GetObjectTagging")
    if job.restore and role in {Role.FINDER, Role.HUB}:
        found |= {"GetObject", "RestoreObject"}
    return found


def _dest_objects(role: Role, job: TransferJob) -> set[str]:
    found = {"GetObject"} if job.compare == "checksum" else set()
    if role in _WRITERS:
        found |= set(_UPLOADS)
        found |= {"PutObjectTagging", "GetObjectTagging"} if job.tags else set()
        found |= {"PutObjectAcl"} if job.dest_acl else set()
        found |= {"GetObject"} if job.verify == "full" or job.delete_to else set()
        found |= {"DeleteObject"} if job.delete or job.src_event == "CreateAndDelete" else set()
    return found


def _keys(role: Role, job: TransferJob) -> list[dict[str, Any]]:
    """The KMS key that new objects are encrypted with."""
    key = job.dest_sse_kms_key_id
    if role not in _WRITERS or not key:
        return []
    region = job.dest_region or ANY
    arn = (
        key
        if key.startswith("arn:")
        else partition_of(job.dest_region).arn("kms", f"key/{key}", region=region, account=ANY)
    )
    return [_statement("DestinationKey", "kms", ("Decrypt", "GenerateDataKey"), arn)]


def _secrets(role: Role, job: TransferJob) -> list[dict[str, Any]]:
    """Those of Secrets Manager that hold a side's keys. A secret's ARN ends in six characters that its name does not tell."""
    names = sorted({job.src_credentials, job.dest_credentials} - {"", "anonymous"})
    if role is Role.OPERATOR or not names:
        return []
    partition = queue_parts(job.queue)[0] or partition_of(job.src_region or job.dest_region).id
    arns = [
        name if name.startswith("arn:") else f"arn:{partition}:secretsmanager:{ANY}:{ANY}:secret:{name}-??????"
        for name in names
    ]
    return [_statement("Secrets", "secretsmanager", ("GetSecretValue",), *arns)]


def _images(job: TransferJob) -> list[dict[str, Any]]:
    """Private repositories of both sides; logging in is a right on none of them."""
    source, dest = partition_of(job.src_region), partition_of(job.dest_region)
    everywhere = source.arn("ecr", "repository/*", region=job.src_region or ANY, account=ANY)
    there = dest.arn("ecr", "repository/*", region=job.dest_region or ANY, account=ANY)
    return [
        _statement("Login", "ecr", ("GetAuthorizationToken",), ANY),
        _statement("SourceImages", "ecr", _ECR_SOURCE, everywhere),
        _statement("DestinationImages", "ecr", (*_ECR_DEST, *(("BatchDeleteImage",) if job.delete else ())), there),
    ]
