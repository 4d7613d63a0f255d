"""Permissions that AWS asks for and the emulator does not: the registry's protocol, tags of new repositories, ACLs, KMS keys.

Which request needs which action is AWS's own word: for ECR its user guide (examples of repository policies: pulling, pushing),
for S3 and KMS the service authorization reference. What a policy permits is judged by moto's evaluator, not by ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from moto.iam.access_control import IAMPolicy, PermissionResult

from .iam import Asked

_REGISTRY = re.compile(r"/v2/(?P<repository>.+)/(?P<noun>manifests|blobs/uploads|blobs|tags)/(?P<rest>.*)")
_WIRE = {
    ("HEAD", "manifests"): ("BatchGetImage",),
    ("GET", "manifests"): ("BatchGetImage",),
    ("PUT", "manifests"): ("PutImage",),
    ("HEAD", "blobs"): ("BatchCheckLayerAvailability",),
    ("GET", "blobs"): ("GetDownloadUrlForLayer",),
    ("POST", "blobs/uploads"): ("InitiateLayerUpload",),
    ("PATCH", "blobs/uploads"): ("UploadLayerPart",),
    ("PUT", "blobs/uploads"): ("UploadLayerPart", "CompleteLayerUpload"),  # it may carry the whole layer
}
_MOUNTED = "GetDownloadUrlForLayer"  # of the repository that a layer is mounted from
_ACCOUNT = "000000000000"


@dataclass(frozen=True, slots=True)
class Need:
    """An action on a resource's ARN."""

    action: str
    resource: str


def demands(asked: Iterable[Asked], regions: dict[str, str], key: str = "") -> set[Need]:
    """What AWS wants to be permitted beside what the emulator checks. `regions` has a repository's region by the first part
    of its name; `key` is the ARN of the KMS key that objects are encrypted with."""
    found: set[Need] = set()
    for one in asked:
        found |= _of_registry(one, regions) | _of_repositories(one, regions) | _of_objects(one, key)
    return found


def permits(document: dict[str, Any], needs: Iterable[Need]) -> bool:
    """Whether a policy permits them all."""
    judge = IAMPolicy(json.dumps(document))
    return all(judge.is_action_permitted(one.action, one.resource) is PermissionResult.PERMITTED for one in needs)


def _repository(name: str, regions: dict[str, str]) -> str:
    return f"arn:aws:ecr:{regions[name.split('/', maxsplit=1)[0]]}:{_ACCOUNT}:repository/{name}"


def _of_registry(asked: Asked, regions: dict[str, str]) -> set[Need]:
    parts = urlsplit(asked.path)
    met = _REGISTRY.fullmatch(parts.path)
    if met is None:
        return set()
    actions = _WIRE.get((asked.method, met["noun"]), ())
    found = {Need(f"ecr:{action}", _repository(met["repository"], regions)) for action in actions}
    region = regions[met["repository"].split("/")[0]]
    for source in parse_qs(parts.query).get("from", []):  # another one of the same registry
        found.add(Need(f"ecr:{_MOUNTED}", f"arn:aws:ecr:{region}:{_ACCOUNT}:repository/{source}"))
    return found


def _of_repositories(asked: Asked, regions: dict[str, str]) -> set[Need]:
    if not asked.target.endswith(".CreateRepository"):
        return set()
    fields = json.loads(asked.body)
    return {Need("ecr:TagResource", _repository(fields["repositoryName"], regions))} if fields.get("tags") else set()


def _of_objects(asked: Asked, key: str) -> set[Need]:
    headers, bucket_and_key = dict(asked.headers), urlsplit(asked.path).path[1:]
    found = set()
    if "x-amz-acl" in headers:
        found.add(Need("s3:PutObjectAcl", f"arn:aws:s3:::{bucket_and_key}"))
    if headers.get("x-amz-server-side-encryption") == "aws:kms":
        found.add(Need("kms:GenerateDataKey", key))
        if asked.method == "POST":  # a multipart upload's parts are read again when it is completed
            found.add(Need("kms:Decrypt", key))
    return found
