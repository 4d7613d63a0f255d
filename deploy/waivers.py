"""Findings of cdk-nag that are meant, each with its reason."""

_WILDCARDS = {
    "*": "AWS grants logins to ECR, the delivery of logs, traces, and metrics (of one namespace) on no resource in particular.",
    "arn:<AWS::Partition>:application-autoscaling:<AWS::Region>:<AWS::AccountId>:scalable-target/*": "Their ids are random.",
    "arn:<AWS::Partition>:autoscaling:<AWS::Region>:<AWS::AccountId>:autoScalingGroup:*"
    ":autoScalingGroupName/<AWS::StackName>-Worker-ASG": "One group, by its name; its id is random.",
    "arn:<AWS::Partition>:ecr:*:*:repository/*": "Images to run, and images to copy, may be in any repository.",
    "arn:<AWS::Partition>:ecs:<AWS::Region>:<AWS::AccountId>:service/<Cluster>/<AWS::StackName>-*": "The stack's services.",
    **{
        f"arn:<AWS::Partition>:ecs:<AWS::Region>:<AWS::AccountId>:task-definition/<AWS::StackName>-{one}:*": (
            "All revisions of one task: an execution goes on while the stack changes."
        )
        for one in ("copy", "finder", "plan")
    },
    **{
        f"arn:<AWS::Partition>:ecs:<AWS::Region>:<AWS::AccountId>:task/<{one}>/*": "Tasks have no names before they run."
        for one in ("Cluster", "ecsClusterName")
    },
    "arn:<AWS::Partition>:kms:*:*:key/<destPutObjectSSEKmsKeyId>": "One key, wherever the destination bucket is.",
    "arn:<AWS::Partition>:logs:<AWS::Region>:<AWS::AccountId>:log-group:/dth/<AWS::StackName>/*": "The stack's groups.",
    "arn:<AWS::Partition>:logs:<AWS::Region>:<AWS::AccountId>:log-group:/dth/<AWS::StackName>/worker*": "One group's streams.",
    "arn:<AWS::Partition>:s3:::<destBucket>/<destPrefix>*": "Objects have no names before they are there.",
    'arn:<AWS::Partition>:s3:::<srcBucket>/{"Fn::If":["HasPrefixList","",{"Ref":"srcPrefix"}]}*': "Objects come and go.",
}
WAIVERS = {
    "AwsSolutions-VPC7": "The network has no way in; flow logs cost more than the transfer, and an existing VPC may have them.",
    "AwsSolutions-ECS2": "Environment variables hold settings. Secrets stay in Secrets Manager: settings hold their names.",
    "AwsSolutions-EC26": "The rule cannot read mixed instances; the launch template's volumes are encrypted (a test looks).",
    "AwsSolutions-AS3": "Instances come and go with the queue's depth; a message for each would bury those about failures.",
    **{f"AwsSolutions-IAM5[Resource::{resource}]": reason for resource, reason in _WILDCARDS.items()},
}
