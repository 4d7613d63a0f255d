"""A custom resource of CloudFormation: a bucket that exists tells a queue of changes; notifications of others stay."""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"
import json
import urllib.request

import botocore.session  # as every Python of Lambda has it

KINDS = ("QueueConfigurations", "TopicConfigurations", "LambdaFunctionConfigurations", "EventBridgeConfiguration")


def handler(event, context):
    status, reason = "SUCCESS", ""
    try:
        change(event["RequestType"], event["ResourceProperties"])
    except Exception as error:
        status, reason = "FAILED", f"{type(error).__name__}: {error}"
    answer(event, status, reason)


def change(kind, wanted):
    s3, bucket, name = botocore.session.get_session().create_client("s3"), wanted["Bucket"], wanted["Id"]
    try:
        found = s3.get_bucket_notification_configuration(Bucket=bucket)
    except s3.exceptions.NoSuchBucket:
        if kind == "Delete":
            return
        raise
    kept = {one: found[one] for one in KINDS if one in found}
    before = found.get("QueueConfigurations", [])
    queues = [one for one in before if one.get("Id") != name]
    if kind == "Delete":
        if queues == before:
            return
    else:
        own = {"Id": name, "QueueArn": wanted["Queue"], "Events": wanted["Events"]}
        if wanted["Prefix"]:
            own["Filter"] = {"Key": {"FilterRules": [{"Name": "prefix", "Value": wanted["Prefix"]}]}}
        queues.append(own)
    kept["QueueConfigurations"] = queues
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=kept)


def answer(event, status, reason):
    names = ("StackId", "RequestId", "LogicalResourceId")
    body = {name: event[name] for name in names} | {
        "Status": status,
        "Reason": reason[:1000],
        "PhysicalResourceId": event.get("PhysicalResourceId") or event["ResourceProperties"]["Bucket"],
    }
    request = urllib.request.Request(
        event["ResponseURL"], json.dumps(body).encode(), {"Content-Type": ""}, method="PUT"
    )
    urllib.request.urlopen(request, timeout=30).close()
