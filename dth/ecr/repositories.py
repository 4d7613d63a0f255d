"""Repositories of the destination: ECR wants them made first, with settings; other registries make them at the first push."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dth.ecr.aws import Aws
from dth.ecr.dedup import Once
from dth.errors import DthError, NotFound, RequestRefused, SettingsError

_COPIED = ("imageTagMutability", "imageTagMutabilityExclusionFilters", "imageScanningConfiguration")
_TEMPLATE = {*_COPIED, "encryptionConfiguration", "tags", "lifecyclePolicyText", "repositoryPolicyText"}


class RepositoryMaker:
    """Makes missing ECR repositories, each looked at once. `source` is the source's ECR where it is one: its settings are
    taken over (scan, immutability, encryption where its key is AWS's own, lifecycle policy, tags) unless a template
    says them."""

    def __init__(
        self,
        aws: Aws,
        account_id: str,
        source: tuple[Aws, str] | None,
        template: Mapping[str, Any] | None,
        *,
        make: bool,
    ) -> None:
        self._aws = aws
        self._account = _account(account_id)
        self._source = source
        self._template = template
        self._make = make
        self._once = Once()
        self.made: list[str] = []

    async def prepare(self, source: str, destination: str) -> None:
        """Make sure that the repository exists. Raises NotFound where it doesn't and may not be made."""

        async def work() -> None:
            if not await self.exists(destination):
                await self._create(source, destination)

        await self._once.do(("", destination), work)

    async def exists(self, name: str) -> bool:
        """Whether the repository is there."""
        try:
            answer = await self._aws.call("ecr", "DescribeRepositories", repositoryNames=[name], **self._account)
        except NotFound:
            return False
        return any(one.get("repositoryName") == name for one in answer.get("repositories") or ())

    async def _create(self, source: str, destination: str) -> None:
        if not self._make:
            raise NotFound(
                f"the destination's ECR has no repository {destination}, and --no-create-repositories forbids to make it",
                operation="CreateRepository",
            )
        fields = dict(self._template) if self._template is not None else await self._settings(source)
        lifecycle, policy = fields.pop("lifecyclePolicyText", None), fields.pop("repositoryPolicyText", None)
        try:
            await self._aws.call("ecr", "CreateRepository", repositoryName=destination, **self._account, **fields)
        except RequestRefused as error:
            if error.store_code != "RepositoryAlreadyExistsException":
                raise
        name = {"repositoryName": destination, **self._account}
        if lifecycle:
            await self._aws.call("ecr", "PutLifecyclePolicy", lifecyclePolicyText=lifecycle, **name)
        if policy:
            await self._aws.call("ecr", "SetRepositoryPolicy", policyText=policy, **name)
        self.made.append(destination)

    async def _settings(self, source: str) -> dict[str, Any]:
        """The source repository's own; {} where it is no ECR, or doesn't let us look."""
        if self._source is None:
            return {}
        aws, account_id = self._source
        try:
            answer = await aws.call("ecr", "DescribeRepositories", repositoryNames=[source], **_account(account_id))
            one: dict[str, Any] = next(iter(answer.get("repositories") or ()), {})
            fields = {name: one[name] for name in _COPIED if one.get(name)}
            encryption = one.get("encryptionConfiguration", {})
            if encryption.get("encryptionType") not in {None, "AES256"}:
                fields["encryptionConfiguration"] = {
                    "encryptionType": encryption["encryptionType"]
                }  # keys are regional
            arn = one.get("repositoryArn", "")
            tags = await aws.call("ecr", "ListTagsForResource", resourceArn=arn) if arn else {}
            # AWS reserves what begins with `aws:`
            fields["tags"] = [tag for tag in tags.get("tags", []) if not tag.get("Key", "").startswith("aws:")]
        except DthError as error:
            if error.retryable:
                raise
            return {}
        try:
            name = {"repositoryName": source, **_account(account_id)}
            fields["lifecyclePolicyText"] = (await aws.call("ecr", "GetLifecyclePolicy", **name)).get(
                "lifecyclePolicyText"
            )
        except DthError as error:
            if error.retryable:
                raise
        return fields


def _account(account_id: str) -> dict[str, str]:
    return {"registryId": account_id} if account_id else {}


def parse_template(text: str, name: str) -> Mapping[str, Any]:
    """The settings of new repositories from a template's text. Raises SettingsError naming what is not one."""
    try:
        fields = json.loads(text)
    except ValueError as exc:
        raise SettingsError(f"the repository template {name} is no JSON: {exc}") from exc
    if not isinstance(fields, dict) or (unknown := sorted(set(fields) - _TEMPLATE)):
        wrong = ", ".join(unknown) if isinstance(fields, dict) else "no object"
        raise SettingsError(f"the repository template {name} holds {wrong}; it may hold {', '.join(sorted(_TEMPLATE))}")
    for name_of_text in ("lifecyclePolicyText", "repositoryPolicyText"):
        if isinstance(fields.get(name_of_text), dict):
            fields[name_of_text] = json.dumps(fields[name_of_text])
    return fields
