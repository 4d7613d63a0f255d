"""Which permission each operation of S3 needs, in IAM's words: what to allow where a store refuses one.

Errors, and with them `dth probe`, name it. `dth policy` makes whole policies from a job instead: it knows what is used.
"""

from __future__ import annotations

_PERMISSIONS = {
    "ListObjects": "s3:ListBucket",
    "ListObjectsV2": "s3:ListBucket",
    "HeadBucket": "s3:ListBucket",
    "HeadObject": "s3:GetObject (and s3:ListBucket to tell absent from forbidden)",
    "GetObject": "s3:GetObject",
    "GetObjectTagging": "s3:GetObjectTagging (and s3:GetObjectVersionTagging where a version is read)",
    "RestoreObject": "s3:RestoreObject",
    "PutObject": "s3:PutObject (and s3:PutObjectAcl where an ACL is set, s3:PutObjectTagging with tags, kms:GenerateDataKey "
    "with SSE-KMS)",
    "CopyObject": "s3:GetObject at the source and s3:PutObject at the destination",
    "UploadPartCopy": "s3:GetObject at the source and s3:PutObject at the destination",
    "DeleteObject": "s3:DeleteObject",
    "CreateMultipartUpload": "s3:PutObject (and s3:PutObjectTagging with tags, kms:GenerateDataKey with SSE-KMS)",
    "UploadPart": "s3:PutObject (and kms:Decrypt with SSE-KMS)",
    "CompleteMultipartUpload": "s3:PutObject",
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "ListParts": "s3:ListMultipartUploadParts",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
}


def permission_for(operation: str) -> str:
    """The actions that `operation` (`PutObject`) needs, for people: with what else it may need, and when."""
    return _PERMISSIONS.get(operation, f"s3:{operation}")
