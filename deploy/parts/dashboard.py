"""The dashboard: what the original's shows, from the engine's own figures, and what only dth knows."""

from __future__ import annotations

import json
from typing import Any

from aws_cdk import Fn
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from deploy.parts.workers import GROUP, SERVICE

JOB = "${AWS::StackName}"


class Dashboard(Construct):
    """One row of two widgets for each subject."""

    def __init__(self, scope: Construct, name: str, cluster: str, queue: str) -> None:
        super().__init__(scope, name)
        body = {"widgets": [_placed(number, one) for number, one in enumerate(widgets())]}
        cloudwatch.CfnDashboard(
            self,
            "Board",
            dashboard_name=Fn.sub("${AWS::StackName}-Dashboard-${AWS::Region}"),
            dashboard_body=Fn.sub(json.dumps(body), {"Cluster": cluster, "Queue": queue}),
        )


def widgets() -> list[dict[str, Any]]:
    """Without their places."""
    of_job = "{dth,job_id}"
    return [
        _graph("Bytes moved", "Maximum", ["dth", "dth_run_bytes", "job_id", JOB]),
        _graph("Objects", "Maximum", *(
            ["dth", "dth_run_objects", "job_id", JOB, "outcome", one] for one in ("done", "skipped", "failed")
        )),
        _graph("Waiting and running", "Maximum",
               ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", "${Queue}"],
               ["AWS/SQS", "ApproximateNumberOfMessagesNotVisible", "QueueName", "${Queue}"]),
        _number("Now", "Maximum",
                ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", "${Queue}"],
                ["AWS/SQS", "ApproximateNumberOfMessagesNotVisible", "QueueName", "${Queue}"]),
        _search("Causes of failures", "Maximum", '{dth,code,job_id} MetricName="dth_run_failures" job_id="' + JOB + '"'),
        _search("Age of events, seconds", "Maximum", '{dth,job_id,stat} MetricName="dth_event_lag_seconds" job_id="' + JOB + '"'),
        _graph("Network of instances", "Sum",
               ["AWS/EC2", "NetworkIn", "AutoScalingGroupName", GROUP],
               ["AWS/EC2", "NetworkOut", "AutoScalingGroupName", GROUP]),
        _graph("CPU", "Average",
               ["AWS/EC2", "CPUUtilization", "AutoScalingGroupName", GROUP],
               ["AWS/ECS", "CPUUtilization", "ClusterName", "${Cluster}", "ServiceName", SERVICE]),
        _graph("Memory and disk", "Average",
               ["AWS/ECS", "MemoryUtilization", "ClusterName", "${Cluster}", "ServiceName", SERVICE],
               ["CWAgent", "mem_used_percent", "AutoScalingGroupName", GROUP],
               ["CWAgent", "disk_used_percent", "AutoScalingGroupName", GROUP]),
        _search("Memory of dth, bytes", "Maximum", f'{of_job} MetricName="dth_resident_memory_bytes" job_id="{JOB}"'),
        _graph("Instances", "Average",
               ["AWS/AutoScaling", "GroupDesiredCapacity", "AutoScalingGroupName", GROUP],
               ["AWS/AutoScaling", "GroupInServiceInstances", "AutoScalingGroupName", GROUP]),
        _graph("Containers", "Average",
               ["ECS/ContainerInsights", "DesiredTaskCount", "ClusterName", "${Cluster}", "ServiceName", SERVICE],
               ["ECS/ContainerInsights", "RunningTaskCount", "ClusterName", "${Cluster}", "ServiceName", SERVICE]),
    ]  # fmt: skip


def _graph(title: str, stat: str, *metrics: list[str]) -> dict[str, Any]:
    properties = {
        "title": title, "stat": stat, "period": 60, "region": "${AWS::Region}", "view": "timeSeries",
        "metrics": list(metrics),
    }  # fmt: skip
    return {"type": "metric", "properties": properties}


def _number(title: str, stat: str, *metrics: list[str]) -> dict[str, Any]:
    one = _graph(title, stat, *metrics)
    return {**one, "properties": {**one["properties"], "view": "singleValue"}}


def _search(title: str, stat: str, found: str) -> dict[str, Any]:
    """What has labels that are not known before."""
    one = _graph(title, stat)
    return {
        **one,
        "properties": {**one["properties"], "metrics": [[{"expression": f"SEARCH('{found}', '{stat}', 60)"}]]},
    }


def _placed(number: int, one: dict[str, Any]) -> dict[str, Any]:
    row, column = divmod(number, 2)
    return {**one, "x": column * 12, "y": row * 6, "width": 12, "height": 6}
