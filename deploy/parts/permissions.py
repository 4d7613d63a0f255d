"""What each role may do with queue, table and buckets: the engine's own statements, with references for its placeholders."""

from __future__ import annotations

from typing import Any

from aws_cdk import Aws, CfnCondition, Fn
from aws_cdk import aws_iam as iam
from constructs import Construct

from deploy.parts.common import Parameters, Statement, allow, attach, choose, ref
from dth.policy import Role, policy
from dth.settings import TransferJob

_QUEUE = "arn:aws:sqs:us-east-1:000000000000:work"
_TABLE = "arn:aws:dynamodb:us-east-1:000000000000:table/ledger"
_SOURCE, _DEST, _KEY = "the-source", "the-destination", "the-key"
_FOUNDATION = ("Queue", "DeadLetters", "Ledger")


def statements(role: Role, **settings: Any) -> dict[str, Statement]:
    """Of the engine, by Sid, with placeholders."""
    job = TransferJob(src_bucket=_SOURCE, dest_bucket=_DEST, queue=_QUEUE, table=_TABLE, **settings)
    return {one["Sid"]: one for one in policy(role, job)["Statement"]}


def foundation(role: Role, queue: Any, ledger: Any) -> list[Statement]:
    """Queue, dead letters and ledger."""
    there = {_QUEUE: queue.arn, f"{_QUEUE}-dead": queue.dead.attr_arn, _TABLE: ledger.arn}
    return [
        {**one, "Resource": [there[resource] for resource in one["Resource"]]}
        for sid, one in statements(role).items()
        if sid in _FOUNDATION
    ]


class Buckets(Construct):
    """Rights on both sides' buckets, keys and secrets, for the roles of finder, workers and multipart net; none where a
    secret has them."""

    def __init__(self, scope: Construct, name: str, parameters: Parameters, roles: dict[Role, iam.CfnRole]) -> None:
        super().__init__(scope, name)
        self._roles, self._parameters = roles, parameters
        p = parameters
        listed = Fn.condition_not(Fn.condition_equals(p["srcPrefixsListFile"], ""))
        self._listed = CfnCondition(scope, "HasPrefixList", expression=listed)
        own_bucket = Fn.condition_not(Fn.condition_equals(p["srcPrefixListBucket"], ""))
        self._list_apart = CfnCondition(scope, "HasPrefixListBucket", expression=own_bucket)
        ours = Fn.condition_and(
            Fn.condition_equals(p["srcCredentials"], ""), Fn.condition_equals(p["srcInCurrentAccount"], "true")
        )
        ours = CfnCondition(scope, "ReadsSourceByRole", expression=ours)
        theirs = CfnCondition(
            scope, "WritesDestinationByRole", expression=Fn.condition_equals(p["destCredentials"], "")
        )
        removes = CfnCondition(
            scope,
            "Removes",
            expression=Fn.condition_and(
                Fn.condition_equals(p["destCredentials"], ""),
                Fn.condition_equals(p["srcEvent"], "CreateAndDelete"),
            ),
        )
        has_key = Fn.condition_not(Fn.condition_equals(p["destPutObjectSSEKmsKeyId"], ""))
        keyed = CfnCondition(
            scope,
            "HasKey",
            expression=Fn.condition_and(has_key, Fn.condition_equals(p["destCredentials"], "")),
        )
        for role, own in roles.items():
            plain = statements(role, dest_acl="private")
            self._give(role, "Source", own, plain, ours)
            self._give(role, "Destination", own, plain, theirs)
            more = statements(role, dest_acl="private", src_event="CreateAndDelete").get("DestinationObjects")
            if more and (added := set(more["Action"]) - set(plain["DestinationObjects"]["Action"])):
                attach(self, f"{role}Removes", [own], [self._placed({**more, "Action": sorted(added)})], removes)
            if key := statements(role, dest_sse="AWS_KMS", dest_sse_kms_key_id=_KEY).get("DestinationKey"):
                attach(self, f"{role}Key", [own], [self._placed(key)], keyed)
        self._prefix_list()
        self._secret("Source", p["srcCredentials"].logical_id)
        self._secret("Destination", p["destCredentials"].logical_id)

    def _give(
        self, role: Role, side: str, own: iam.CfnRole, plain: dict[str, Statement], condition: CfnCondition
    ) -> None:
        """What the engine says of this side."""
        found = [self._placed(one) for sid, one in plain.items() if sid.startswith(side) and one["Action"]]
        attach(self, f"{role}{side}", [own], found, condition)

    def _placed(self, one: Statement) -> Statement:
        return {**one, "Resource": [self._reference(resource) for resource in one["Resource"]]}

    def _reference(self, resource: str) -> str:
        """The resource with parameters for placeholders. Below a bucket, the prefix bounds it."""
        text = resource.replace("arn:aws:", f"arn:{Aws.PARTITION}:", 1).replace(_KEY, ref("destPutObjectSSEKmsKeyId"))
        prefix = choose(self._listed, "", ref("srcPrefix"))
        text = text.replace(f"{_SOURCE}/*", f"{ref('srcBucket')}/{prefix}*").replace(_SOURCE, ref("srcBucket"))
        return text.replace(f"{_DEST}/*", f"{ref('destBucket')}/{ref('destPrefix')}*").replace(_DEST, ref("destBucket"))

    def _prefix_list(self) -> None:
        bucket = choose(self._list_apart, ref("srcPrefixListBucket"), ref("srcBucket"))
        file = Fn.sub("arn:${AWS::Partition}:s3:::${Bucket}/${srcPrefixsListFile}", {"Bucket": bucket})
        attach(
            self, "PrefixList", [self._roles[Role.FINDER]], [allow("PrefixList", ["s3:GetObject"], file)], self._listed
        )

    def _secret(self, side: str, parameter: str) -> None:
        named = CfnCondition(
            self, f"Has{side}Secret", expression=Fn.condition_not(Fn.condition_equals(ref(parameter), ""))
        )
        attach(self, f"{side}Secret", self._roles.values(), [secret(parameter)], named)


def secret(parameter: str) -> Statement:
    """Reading the secret that a parameter names."""
    arn = f"arn:${{AWS::Partition}}:secretsmanager:${{AWS::Region}}:${{AWS::AccountId}}:secret:${{{parameter}}}-??????"
    return allow("Secret", ["secretsmanager:GetSecretValue"], Fn.sub(arn))


class Images(Construct):
    """Rights on repositories of both sides, for the role that copies images; none where a secret has them."""

    def __init__(self, scope: Construct, name: str, parameters: Parameters, own: iam.CfnRole) -> None:
        super().__init__(scope, name)
        found = statements(Role.IMAGES)
        attach(self, "Login", [own], [found["Login"]], None)
        for side, parameter in (("Source", "srcCredential"), ("Destination", "destCredential")):
            bare = Fn.condition_equals(parameters[parameter], "")
            by_role = CfnCondition(scope, f"{side}ByRole", expression=bare)
            by_secret = CfnCondition(scope, f"{side}BySecret", expression=Fn.condition_not(bare))
            images = found[f"{side}Images"]
            where = [Fn.sub(one.replace("arn:aws:", "arn:${AWS::Partition}:", 1)) for one in images["Resource"]]
            attach(self, f"{side}Images", [own], [{**images, "Resource": where}], by_role)
            attach(self, f"{side}Secret", [own], [secret(parameter)], by_secret)
