"""The workers: instances of EC2 or containers, as many as the queue is deep."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aws_cdk import CfnCondition, Fn, Token
from aws_cdk import aws_applicationautoscaling as scaling
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from constructs import Construct

from deploy.parts.common import LOG_GROUPS, Parameters, allow, attach, choose, number, ref, when, writes_logs
from deploy.parts.network import Network
from deploy.parts.queue import Queue
from deploy.parts.tasks import Containers, placement

GROUP = "${AWS::StackName}-Worker-ASG"
SERVICE = "${AWS::StackName}-workers"
LADDER = ((100, 1), (500, 2), (2000, 5), (10_000, 10))  # from so many messages: so many workers more, each minute
TO_MINIMUM = -10_000
COOLDOWN_SECONDS = 120
INSTANCES = ("t4g.micro", "t4g.small", "m6g.medium", "c7g.medium")  # the first; the others where spot has no more of it
SYSTEM = "{{resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64}}"
USER_DATA, VITALS, LOGS = (
    Path(__file__).parents[1] / "ec2" / name for name in ("user-data.sh", "vitals.sh", "logs.sh")
)
NAMESPACE = "CWAgent"  # memory and disk are called as Amazon's agent calls them


class Workers(Construct):
    """By `launchType`. `logs` is their log group."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        parameters: Parameters,
        *,
        own: iam.CfnRole,
        containers: Containers,
        cluster: str,
        network: Network,
        queue: Queue,
        settings: Mapping[str, Any],
    ) -> None:
        super().__init__(scope, name)
        kind = parameters["launchType"]
        has_artefact = Fn.condition_not(Fn.condition_equals(parameters["artefact"], ""))
        on_ec2 = Fn.condition_or(
            Fn.condition_equals(kind, "EC2"),
            Fn.condition_equals(kind, "EC2_SPOT"),
            Fn.condition_and(Fn.condition_equals(kind, "AUTO"), has_artefact),
        )
        self._on_ec2 = CfnCondition(scope, "OnEc2", expression=on_ec2)
        self._on_fargate = CfnCondition(scope, "OnFargate", expression=Fn.condition_not(on_ec2))
        spot = Fn.condition_or(Fn.condition_equals(kind, "EC2_SPOT"), Fn.condition_equals(kind, "FARGATE_SPOT"))
        self._spot = CfnCondition(scope, "OnSpot", expression=spot)
        self._queue, self._network = queue, network
        task, self.logs = containers.task("Worker", own, ["work"], settings, cpu="1024", memory="2048")
        self._instances(own, settings)
        self._containers(task, cluster)

    def _instances(self, own: iam.CfnRole, settings: Mapping[str, Any]) -> None:
        profile = iam.CfnInstanceProfile(self, "Profile", roles=[own.ref])
        only = {"Condition": {"StringEquals": {"cloudwatch:namespace": NAMESPACE}}}
        vitals = allow("Vitals", ["cloudwatch:PutMetricData"], "*", **only)
        attach(self, "Vitals", [own], [vitals, writes_logs(Fn.sub(f"{LOG_GROUPS}worker*"))], self._on_ec2)
        template = ec2.CfnLaunchTemplate(
            self,
            "Template",
            launch_template_data={
                "imageId": SYSTEM,
                "instanceType": INSTANCES[0],
                "iamInstanceProfile": {"arn": profile.attr_arn},
                "monitoring": {"enabled": True},
                "metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 1},
                "blockDeviceMappings": [
                    {"deviceName": "/dev/xvda", "ebs": {"volumeSize": 8, "volumeType": "gp3", "encrypted": True}}
                ],
                "networkInterfaces": [
                    {"deviceIndex": 0, "associatePublicIpAddress": True, "groups": [self._network.group]}
                ],
                "tagSpecifications": [
                    {"resourceType": "instance", "tags": [{"key": "Name", "value": Fn.sub("${AWS::StackName}-worker")}]}
                ],
                "userData": Fn.base64(user_data(settings, self.logs.ref)),
            },
        )
        group = autoscaling.CfnAutoScalingGroup(
            self,
            "Instances",
            auto_scaling_group_name=Fn.sub(GROUP),
            min_size=ref("minCapacity"),
            max_size=ref("maxCapacity"),
            desired_capacity=ref("desiredCapacity"),
            cooldown=str(COOLDOWN_SECONDS),
            vpc_zone_identifier=self._network.subnets,
            metrics_collection=[{"granularity": "1Minute"}],
            mixed_instances_policy={
                "launchTemplate": {
                    "launchTemplateSpecification": {
                        "launchTemplateId": template.ref,
                        "version": template.attr_latest_version_number,
                    },
                    "overrides": [{"instanceType": one} for one in INSTANCES],
                },
                "instancesDistribution": {
                    "onDemandAllocationStrategy": "prioritized",
                    "onDemandPercentageAboveBaseCapacity": Token.as_number(
                        Fn.condition_if(self._spot.logical_id, 0, 100)
                    ),
                    "spotAllocationStrategy": "price-capacity-optimized",
                },
            },
        )
        more, fewer = (
            autoscaling.CfnScalingPolicy(
                self,
                name,
                auto_scaling_group_name=group.ref,
                policy_type="StepScaling",
                adjustment_type="ChangeInCapacity",
                estimated_instance_warmup=COOLDOWN_SECONDS,
                step_adjustments=steps,
            )
            for name, steps in (("MoreInstances", ladder()), ("FewerInstances", to_minimum()))
        )
        for one in (profile, template, group, more, fewer):
            when(one, self._on_ec2)
        self._alarms("Instances", more.ref, fewer.ref, self._on_ec2)

    def _containers(self, task: ecs.CfnTaskDefinition, cluster: str) -> None:
        service = ecs.CfnService(
            self,
            "Service",
            service_name=Fn.sub(SERVICE),
            cluster=cluster,
            task_definition=task.ref,
            desired_count=number("desiredCapacity"),
            capacity_provider_strategy=[
                {"capacityProvider": choose(self._spot, "FARGATE_SPOT", "FARGATE"), "weight": 1}
            ],
            network_configuration=placement(self._network.subnets, self._network.group),
        )
        target = scaling.CfnScalableTarget(
            self,
            "Target",
            service_namespace="ecs",
            scalable_dimension="ecs:service:DesiredCount",
            resource_id=Fn.join("/", ["service", cluster, service.attr_name]),
            min_capacity=number("minCapacity"),
            max_capacity=number("maxCapacity"),
        )
        more, fewer = (
            scaling.CfnScalingPolicy(
                self,
                name,
                policy_name=Fn.sub(f"${{AWS::StackName}}-{name}"),
                policy_type="StepScaling",
                scaling_target_id=target.ref,
                step_scaling_policy_configuration={
                    "adjustmentType": "ChangeInCapacity",
                    "cooldown": COOLDOWN_SECONDS,
                    "metricAggregationType": "Maximum",
                    "stepAdjustments": steps,
                },
            )
            for name, steps in (("MoreContainers", ladder()), ("FewerContainers", to_minimum()))
        )
        for one in (service, target, more, fewer):
            when(one, self._on_fargate)
        self._alarms("Containers", more.ref, fewer.ref, self._on_fargate)

    def _alarms(self, name: str, more: str, fewer: str, condition: CfnCondition) -> None:
        for direction, action, threshold, operator in (
            ("More", more, LADDER[0][0], "GreaterThanOrEqualToThreshold"),
            ("Fewer", fewer, 0, "LessThanOrEqualToThreshold"),
        ):
            alarm = cloudwatch.CfnAlarm(
                self,
                f"{direction}{name}Alarm",
                alarm_description="Messages that wait or are worked on",
                metrics=depth(self._queue),
                threshold=threshold,
                comparison_operator=operator,
                evaluation_periods=1,
                treat_missing_data="ignore",
                alarm_actions=[action],
            )
            when(alarm, condition)


def depth(queue: Queue) -> list[dict[str, Any]]:
    """The metric that workers follow: waiting and leased messages together, each minute."""

    def of(id_: str, name: str) -> dict[str, Any]:
        metric = {
            "namespace": "AWS/SQS",
            "metricName": name,
            "dimensions": [{"name": "QueueName", "value": queue.name}],
        }
        return {"id": id_, "metricStat": {"metric": metric, "period": 60, "stat": "Maximum"}, "returnData": False}

    return [
        {"id": "depth", "expression": "waiting + leased", "label": "messages", "returnData": True},
        of("waiting", "ApproximateNumberOfMessagesVisible"),
        of("leased", "ApproximateNumberOfMessagesNotVisible"),
    ]


def ladder() -> list[dict[str, Any]]:
    """The steps, relative to the first threshold."""
    base = LADDER[0][0]
    ends = [depth - base for depth, _ in LADDER[1:]]
    steps = []
    for (start, workers), end in zip(LADDER, [*ends, None], strict=True):
        step = {"metricIntervalLowerBound": start - base, "scalingAdjustment": workers}
        steps.append(step if end is None else {**step, "metricIntervalUpperBound": end})
    return steps


def to_minimum() -> list[dict[str, Any]]:
    """One step, far below any minimum."""
    return [{"metricIntervalUpperBound": 0, "scalingAdjustment": TO_MINIMUM}]


def user_data(settings: Mapping[str, Any], logs: str) -> str:
    """`deploy/ec2/user-data.sh` with its settings before it, and after it what sends vitals and logs (to the log group `logs`).
    Values come through a here-document, and systemd gets them quoted."""
    mark = "END-OF-SETTINGS"
    own = {
        "AWS_REGION": ref("AWS::Region"),
        **settings,
        "DTH_METRICS_EMF": "-",
    }  # containers are told the region by ECS
    lines = Fn.join("\n", [Fn.join("=", [name, value]) for name, value in own.items()])
    quote = r"""sed -e 's/[\\"$`]/\\&/g' -e 's/^\([A-Z_]*\)=\(.*\)$/\1="\2"/'"""
    parts = [
        "#!/bin/sh",
        Fn.sub("PLACE='${artefact}'"),
        'ARTEFACT="${PLACE%#*}"',
        'SHA256="${PLACE##*#}"',
        "ROLE=worker",
        f"SETTINGS=$({quote} <<'{mark}'",
        lines,
        mark,
        ")",
        USER_DATA.read_text(),
        *written("vitals", VITALS),
        "systemd-run --quiet --unit=dth-vitals --on-calendar=minutely /bin/sh /usr/local/sbin/dth-vitals "
        + Fn.sub(f"{NAMESPACE} {GROUP}"),
        *written("logs", LOGS),
        # It stops after the worker and before the network, so that the worker's last words are sent.
        "systemd-run --quiet --unit=dth-logs -p Before=dth-worker.service -p After=network-online.target -p KillMode=mixed"
        " -p Restart=always -p StateDirectory=dth-logs /bin/sh /usr/local/sbin/dth-logs " + logs,
        "",
    ]
    return str(Fn.join("\n", parts))


def written(name: str, script: Path) -> list[str]:
    """Lines of shell that write a script to `/usr/local/sbin/dth-NAME`."""
    mark = f"END-OF-{name.upper()}"
    return [f"cat >/usr/local/sbin/dth-{name} <<'{mark}'", script.read_text().rstrip("\n"), mark]
