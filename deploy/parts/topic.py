"""Who is told: an encrypted topic with one e-mail address."""

from __future__ import annotations

from aws_cdk import CfnParameter, Fn
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from constructs import Construct

from deploy.parts.common import Statement, allow, document, ref


class Topic(Construct):
    """`arn` is the topic's; `publishing` lets a role publish."""

    def __init__(self, scope: Construct, name: str, email: CfnParameter) -> None:
        super().__init__(scope, name)
        here = {"StringEquals": {"aws:SourceAccount": ref("AWS::AccountId")}}
        root = {"AWS": Fn.sub("arn:${AWS::Partition}:iam::${AWS::AccountId}:root")}
        alarms = {"Service": "cloudwatch.amazonaws.com"}
        use = ["kms:Decrypt", "kms:GenerateDataKey*"]
        # AWS's own key for topics lets no alarm publish; this one does.
        self._key = kms.CfnKey(
            self,
            "Key",
            description="Encrypts what dth tells",
            enable_key_rotation=True,
            pending_window_in_days=7,
            key_policy=document(
                {"Sid": "Account", "Effect": "Allow", "Principal": root, "Action": "kms:*", "Resource": "*"},
                {
                    "Sid": "Alarms",
                    "Effect": "Allow",
                    "Principal": alarms,
                    "Action": use,
                    "Resource": "*",
                    "Condition": here,
                },
            ),
        )
        topic = sns.CfnTopic(self, "Topic", kms_master_key_id=self._key.attr_key_id)
        self.arn = topic.ref
        self.name = topic.attr_topic_name
        sns.CfnTopicPolicy(
            self,
            "Policy",
            topics=[self.arn],
            policy_document=document(
                {
                    "Sid": "OnlyTLS",
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "sns:Publish",
                    "Resource": self.arn,
                    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                },
                {
                    "Sid": "Alarms",
                    "Effect": "Allow",
                    "Principal": alarms,
                    "Action": "sns:Publish",
                    "Resource": self.arn,
                    "Condition": here,
                },
            ),
        )
        sns.CfnSubscription(self, "Mail", topic_arn=self.arn, protocol="email", endpoint=email.value_as_string)

    @property
    def publishing(self) -> list[Statement]:
        """What a role needs to publish."""
        return [
            allow("Tell", ["sns:Publish"], self.arn),
            allow("TellEncrypted", ["kms:Decrypt", "kms:GenerateDataKey"], self._key.attr_arn),
        ]
