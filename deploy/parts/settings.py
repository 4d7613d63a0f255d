"""The engine's settings from a template's parameters: environment variables, by name."""

from __future__ import annotations

from typing import Any

from aws_cdk import CfnCondition, Fn
from constructs import Construct

from deploy.parts.common import Parameters, choose, ref

_OBJECTS = {
    "DTH_SRC_TYPE": "srcType",
    "DTH_SRC_BUCKET": "srcBucket",
    "DTH_SRC_PREFIX": "srcPrefix",
    "DTH_SRC_PREFIX_LIST": "srcPrefixsListFile",
    "DTH_SRC_PREFIX_LIST_BUCKET": "srcPrefixListBucket",
    "DTH_SRC_REGION": "srcRegion",
    "DTH_SRC_ENDPOINT": "srcEndpoint",
    "DTH_SRC_EVENT": "srcEvent",
    "DTH_SKIP_COMPARE": "srcSkipCompare",
    "DTH_SRC_REQUEST_PAYER": "isPayerRequest",
    "DTH_DEST_BUCKET": "destBucket",
    "DTH_DEST_PREFIX": "destPrefix",
    "DTH_DEST_REGION": "destRegion",
    "DTH_DEST_CREDENTIALS": "destCredentials",
    "DTH_DEST_STORAGE_CLASS": "destStorageClass",
    "DTH_DEST_ACL": "destAcl",
    "DTH_DEST_SSE": "destPutObjectSSEType",
    "DTH_DEST_SSE_KMS_KEY_ID": "destPutObjectSSEKmsKeyId",
    "DTH_INCLUDE_METADATA": "includeMetadata",
    "DTH_FINDER_DEPTH": "finderDepth",
    "DTH_FINDER_NUMBER": "finderNumber",
    "DTH_WORKER_NUMBER": "workerNumber",
}
_IMAGES = {
    "DTH_SOURCE_TYPE": "sourceType",
    "DTH_SRC_REGION": "srcRegion",
    "DTH_SRC_ACCOUNT_ID": "srcAccountId",
    "DTH_SRC_LIST": "srcList",
    "DTH_SRC_CREDENTIALS": "srcCredential",
    "DTH_INCLUDE_UNTAGGED": "includeUntagged",
    "DTH_DEST_REGION": "destRegion",
    "DTH_DEST_ACCOUNT_ID": "destAccountId",
    "DTH_DEST_REPOSITORY_PREFIX": "destPrefix",
    "DTH_DEST_CREDENTIALS": "destCredential",
}


def fleet(queue: Any, ledger: Any) -> dict[str, Any]:
    """Where the job is, and how to tell what goes on."""
    return {
        "DTH_QUEUE": queue.url,
        "DTH_TABLE": ledger.name,
        "DTH_JOB_ID": ref("AWS::StackName"),
        "DTH_LOG": "json",
    }


def objects(scope: Construct, parameters: Parameters) -> dict[str, Any]:
    """The job of the S3 plugin."""
    bare = Fn.condition_and(
        Fn.condition_equals(parameters["srcCredentials"], ""),
        Fn.condition_equals(parameters["srcInCurrentAccount"], "false"),
    )
    anonymous = CfnCondition(scope, "ReadsSourceUnsigned", expression=bare)
    known = choose(anonymous, "anonymous", ref("srcCredentials"))
    return {"DTH_SRC_CREDENTIALS": known} | {name: ref(one) for name, one in _OBJECTS.items()}


def images() -> dict[str, Any]:
    """The job of the ECR plugin, without its list."""
    return {name: ref(one) for name, one in _IMAGES.items()}
