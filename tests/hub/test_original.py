"""The nine operations of Data Transfer Hub, as its console sends them, answered with its types."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from graphql import GraphQLEnumType

from dth.hub.serve import schema
from tests.servers.s3server import S3Server

from .hubs import HubProcess, Told, hub_between
from .test_life import contents, filled, new_bucket

pytestmark = pytest.mark.seaweed

TASK = """id description type templateUrl parameters { ParameterKey ParameterValue } createdAt stoppedAt progress
  progressInfo { total replicated } stackId stackName stackOutputs { Description OutputKey OutputValue } stackStatus
  stackStatusReason executionArn scheduleType"""
LIST = f"query ListTasksV2($progress: TaskProgress, $page: Int, $count: Int) {{ listTasksV2(progress: $progress, page: $page, count: $count) {{ items {{ {TASK} }} total }} }}"
GET = f"query GetTask($id: ID!) {{ getTask(id: $id) {{ {TASK} }} }}"
CREATE = f"mutation CreateTask($input: CreateTaskInput!) {{ createTask(input: $input) {{ {TASK} }} }}"
STOP = f"mutation StopTask($id: String) {{ stopTask(id: $id) {{ {TASK} }} }}"
STREAMS = """query ListLogStreams($page: Int, $count: Int, $logGroupName: String, $logStreamNamePrefix: String) {
  listLogStreams(page: $page, count: $count, logGroupName: $logGroupName, logStreamNamePrefix: $logStreamNamePrefix) {
    logStreams { logStreamName creationTime firstEventTimestamp lastEventTimestamp lastIngestionTime uploadSequenceToken arn storedBytes } total: __typename } }"""
EVENTS = """query GetLogEvents($limit: Int, $logGroupName: String, $logStreamName: String, $nextToken: String) {
  getLogEvents(limit: $limit, logGroupName: $logGroupName, logStreamName: $logStreamName, nextToken: $nextToken) {
    logEvents { timestamp message ingestionTime } nextForwardToken nextBackwardToken } }"""
METRICS = """query GetMetricHistoryData($id: String!, $graphName: GraphName!, $startTime: String, $endTime: String, $period: Int) {
  getMetricHistoryData(id: $id, graphName: $graphName, startTime: $startTime, endTime: $endTime, period: $period) {
    series { name data } xaxis { categories } } }"""
ERROR = "query GetErrorMessage($id: String!) { getErrorMessage(id: $id) { errMessage errCode } }"

ENUMS = {
    "TaskType": {"S3EC2", "ECR"},
    "TaskProgress": {"STARTING", "STOPPING", "ERROR", "IN_PROGRESS", "DONE", "STOPPED"},
    "GraphName": {"Network", "TransferredFailedObjects", "RunningWaitingJobHistory", "DesiredInServiceInstances"},
    "TaskErrorCode": {"CFN_ERROR", "FINDER_ERROR", "COMPLETE_CHECK_ERROR", "UN_KNOWN"},
    "ScheduleType": {"ONE_TIME", "FIXED_RATE"},
}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, seaweed: S3Server) -> Iterator[tuple[HubProcess, dict[str, str]]]:
    running, settings = hub_between(tmp_path_factory.mktemp("original"), seaweed, seaweed)
    yield running.start(), settings
    running.end()


@pytest.mark.parametrize("name", sorted(ENUMS))
def test_an_enum_of_the_original_has_no_new_value(name: str) -> None:
    found = schema().type_map[name]
    assert isinstance(found, GraphQLEnumType)
    assert set(found.values) == ENUMS[name]


def form(**parameters: str) -> list[dict[str, str]]:
    """What the console's form for S3 sends: everything, much of it empty or about machines that are not here."""
    sent = {
        "srcType": "Amazon_S3", "srcEndpoint": "", "srcBucket": "", "srcPrefix": "", "srcPrefixsListFile": "", "srcEvent": "No",
        "srcRegion": "us-east-1", "srcInCurrentAccount": "true", "srcCredentials": "", "srcSkipCompare": "false",
        "destBucket": "", "destPrefix": "", "destStorageClass": "STANDARD", "destRegion": "us-east-1",
        "destInCurrentAccount": "true", "destCredentials": "", "destAcl": "bucket-owner-full-control", "includeMetadata": "false",
        "isPayerRequest": "false", "ec2VpcId": "vpc-1", "ec2Subnets": "subnet-1,subnet-2", "finderEc2Memory": "8",
        "ec2CronExpression": "", "finderDepth": "0", "finderNumber": "1", "workerNumber": "4", "maxCapacity": "20",
        "minCapacity": "1", "desiredCapacity": "1", "alarmEmail": "me@example.org", **parameters,
    }  # fmt: skip
    return [{"ParameterKey": key, "ParameterValue": value} for key, value in sent.items()]


def test_a_task_is_made_listed_shown_and_stopped_as_its_console_does_it(
    hub: tuple[HubProcess, dict[str, str]], seaweed: S3Server
) -> None:
    api, base = hub
    source, destination = filled(seaweed, 40, 3_000, prefix="a b/ü"), new_bucket(seaweed)
    parameters = form(
        srcBucket=source,
        destBucket=destination,
        srcPrefix=quote("a b/ü", safe=""),
        srcEndpoint=seaweed.endpoint,
        destAcl="private",
    )
    # Its form knows no endpoint of a destination and no profile: ours are more settings of the same list.
    for name in ("src_profile", "dest_profile", "dest_endpoint"):
        parameters.append({"ParameterKey": name, "ParameterValue": base[name]})
    given = {
        "type": "S3EC2",
        "description": quote("Fotos für 2026", safe=""),
        "scheduleType": "ONE_TIME",
        "parameters": parameters,
    }
    made = api.ask(CREATE, input=given)["createTask"]
    assert made["progress"] == "STARTING"
    assert made["description"] == quote("Fotos für 2026", safe="")
    assert made["scheduleType"] == "ONE_TIME"
    uuid.UUID(made["id"])
    api.wait(made["id"], "DONE", "FAILED")
    shown = api.ask(GET, id=made["id"])["getTask"]
    assert shown["progress"] == "DONE", api.task(made["id"])
    assert shown["progressInfo"] == {"total": 40, "replicated": 40}
    kept = {one["ParameterKey"]: one["ParameterValue"] for one in shown["parameters"]}
    assert kept["srcPrefix"] == quote("a b/ü", safe="")
    assert kept["alarmEmail"] == "me@example.org"
    assert kept["srcBucket"] == source
    assert set(contents(seaweed, destination)) == set(contents(seaweed, source))

    listed = api.ask(LIST, progress=None, page=1, count=20)["listTasksV2"]
    assert [one["id"] for one in listed["items"]] == [made["id"]]
    assert listed["total"] == 1
    assert api.ask(LIST, progress="ERROR", page=1, count=20)["listTasksV2"] == {"items": [], "total": 0}
    assert api.ask(LIST, progress=None, page=2, count=20)["listTasksV2"]["items"] == []

    streams = api.ask(STREAMS, logGroupName=made["id"], page=1, count=20)["listLogStreams"]["logStreams"]
    assert [one["logStreamName"] for one in streams] == ["sync"]
    events = api.ask(EVENTS, limit=20, logGroupName=made["id"], logStreamName="sync")["getLogEvents"]
    assert any("RunSealed" in one["message"] for one in events["logEvents"])
    assert int(events["logEvents"][0]["timestamp"]) > 1_000_000_000_000
    more = api.ask(EVENTS, logGroupName=made["id"], logStreamName="sync", nextToken=events["nextForwardToken"])
    assert more["getLogEvents"]["logEvents"] == []
    assert (
        more["getLogEvents"]["nextForwardToken"] == events["nextForwardToken"]
    )  # as CloudWatch: the end is the same token
    for graph in sorted(ENUMS["GraphName"]):
        drawn: dict[str, Any] = api.ask(METRICS, id=made["id"], graphName=graph)["getMetricHistoryData"]
        assert drawn["series"]
        assert all(len(one["data"]) == len(drawn["xaxis"]["categories"]) for one in drawn["series"])
    assert api.ask(ERROR, id=made["id"])["getErrorMessage"] == {"errMessage": "", "errCode": None}

    assert api.ask(STOP, id=made["id"])["stopTask"]["progress"] == "STOPPED"
    assert api.ask(LIST)["listTasksV2"]["items"] == []  # stopped ones only where they are asked for
    assert [one["id"] for one in api.ask(LIST, progress="STOPPED")["listTasksV2"]["items"]] == [made["id"]]


def test_a_schedule_of_its_form_is_kept_and_runs_at_once(
    hub: tuple[HubProcess, dict[str, str]], seaweed: S3Server
) -> None:
    api, base = hub
    parameters = form(
        srcBucket=new_bucket(seaweed),
        destBucket=new_bucket(seaweed),
        srcEndpoint=seaweed.endpoint,
        ec2CronExpression="0 */1 ? * * *",
    )
    for name in ("src_profile", "dest_profile", "dest_endpoint"):
        parameters.append({"ParameterKey": name, "ParameterValue": base[name]})
    given = {"type": "S3EC2", "description": "", "scheduleType": "FIXED_RATE", "parameters": parameters}
    made = api.ask(CREATE, input=given)["createTask"]
    assert made["scheduleType"] == "FIXED_RATE"
    waiting = api.wait(made["id"], "WAITING")
    assert waiting["nextRunAt"].endswith(":00:00.000Z")
    assert waiting["progress"] == "IN_PROGRESS"
    edited = api.task(made["id"], "revision schedule settings { name value }")
    pairs = {one["name"]: one["value"] for one in edited["settings"]}
    for schedule, email, cron in ((edited["schedule"], "you@example.org", "0 */1 ? * * *"), ("0 3 * * *", "", None)):
        api.save({**pairs, "alarmEmail": email}, task_id=made["id"], run=False, schedule=schedule)
        listed = api.task(made["id"], "parameters { ParameterKey ParameterValue }")["parameters"]
        kept = {one["ParameterKey"]: one["ParameterValue"] for one in listed}
        assert (kept["maxCapacity"], kept["ec2VpcId"]) == ("20", "vpc-1")  # what a form of ours does not show
        assert (kept.get("alarmEmail", ""), kept.get("ec2CronExpression")) == (email, cron)
    assert api.ask(STOP, id=made["id"])["stopTask"]["progress"] == "STOPPED"
    assert api.task(made["id"])["nextRunAt"] is None


def test_what_its_checks_refuse_is_refused(hub: tuple[HubProcess, dict[str, str]]) -> None:
    api, _ = hub
    for query, variables in (
        (ERROR, {"id": "not-a-uuid"}),
        (STREAMS, {"page": 0, "count": 20, "logGroupName": "x"}),
        (STREAMS, {"page": 1, "count": 1001, "logGroupName": "x"}),
        (EVENTS, {"limit": 0, "logGroupName": "x", "logStreamName": "y"}),
        (METRICS, {"id": "x", "graphName": "Network", "startTime": "yesterday"}),
        (
            CREATE,
            {"input": {"type": "S3EC2", "description": "x" * 251, "scheduleType": "ONE_TIME", "parameters": form()}},
        ),
        (
            CREATE,
            {
                "input": {
                    "type": "S3EC2",
                    "scheduleType": "ONE_TIME",
                    "parameters": form(srcBucket="no bucket", destBucket="d-d"),
                }
            },
        ),
    ):
        with pytest.raises(Told) as told:
            api.ask(query, **variables)
        assert told.value.code in {"bad_request", "settings"}, (query, told.value)
    assert api.ask(GET, id="nothing")["getTask"] is None
    assert "anonymous" in json.dumps(api.ask("query ListSecrets { listSecrets { name description } }"))


def test_a_field_of_a_task_that_a_list_does_not_ask_for_costs_nothing(
    hub: tuple[HubProcess, dict[str, str]], tmp_path: Path
) -> None:
    api, _ = hub
    assert "items" in api.ask("{ listTasksV2 { items { id } } }")["listTasksV2"]
