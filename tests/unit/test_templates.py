"""The templates: valid, with the guide's parameters, the original's outputs and steps, and nothing that a partition lacks."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploy.publish import filled, place
from dth.policy import Role, policy
from dth.settings import ImageJob, TransferJob, load_image_settings, load_settings
from tests.servers import templates, tools
from tests.servers.templates import ECR, S3, resources

pytestmark = pytest.mark.templates
ROOT = Path(__file__).parents[2]
GUIDE = json.loads(Path(__file__).with_name("guide_parameters.json").read_text())
DEVIATIONS = json.loads((ROOT / "deploy/parameters/deviations.json").read_text())
HERE = "eu-west-1:123456789012"
BOTH = pytest.mark.parametrize("name", [S3, ECR])
# '' stands for "none" in lists of subnets, which a condition keeps from use; destInCurrentAccount is the guide's, without effect
MEANT = ["--ignore-checks", "W1030", "W2001"]


def deviations(name: str) -> dict[str, Any]:
    found: dict[str, Any] = DEVIATIONS["s3" if name == S3 else "ecr"]
    return found


def parameter(name: str, key: str) -> dict[str, Any]:
    """What the template says of it, as the guide's table would."""
    one = templates.read(name)["Parameters"][key]
    default = one.get("Default")
    return {"default": None if default in {None, ""} else str(default), "allowed": one.get("AllowedValues", [])}


@BOTH
def test_cfn_lint_finds_nothing(name: str) -> None:
    code, said = templates.check("cfn-lint", *MEANT, "--", str(templates.path(name)))
    assert (code, said) == (0, "")


@BOTH
def test_parameters_are_the_guides_and_every_deviation_is_listed(name: str) -> None:
    there, guide, listed = templates.read(name)["Parameters"], GUIDE[name], deviations(name)
    assert set(guide) <= set(there)
    assert set(there) - set(guide) <= set(listed)
    differing = {key for key in guide if parameter(name, key) != guide[key]}
    without_effect = {"destInCurrentAccount"} & set(guide)
    assert differing | (set(there) - set(guide)) | without_effect == set(listed)
    assert all(one["what"] and one["why"] for one in listed.values())


@BOTH
def test_values_of_the_guide_stay_allowed(name: str) -> None:
    for key, said in GUIDE[name].items():
        offered = parameter(name, key)["allowed"]
        assert set(said["allowed"]) <= set(offered) if said["allowed"] else offered == [], key


@BOTH
def test_every_parameter_has_a_group_and_a_label(name: str) -> None:
    template = templates.read(name)
    form = template["Metadata"]["AWS::CloudFormation::Interface"]
    grouped = [key for group in form["ParameterGroups"] for key in group["Parameters"]]
    assert sorted(grouped) == sorted(template["Parameters"]) == sorted(form["ParameterLabels"])
    assert all(one["Description"] for one in template["Parameters"].values())


def test_outputs_carry_the_descriptions_that_the_originals_hub_looks_for() -> None:
    said = {one["Description"] for one in templates.read(S3)["Outputs"].values()}
    assert {
        "DynamoDB Table Name", "Split Part DynamoDB Table Name", "Queue Name", "Dead Letter Queue Name", "Alarm Topic Name",
        "Stack Name", "SFN ARN", "Finder Log Group Name", "Worker Log Group Name", "Worker ASG Name",
    } <= said  # fmt: skip
    assert templates.read(S3)["Outputs"]["StackName"]["Value"] == {"Ref": "AWS::StackName"}


def added(steps: list[dict[str, Any]], threshold: int, depth: int) -> int:
    """What a policy of steps does at that depth, as CloudWatch reckons: bounds are relative to the alarm's threshold."""
    (found,) = [
        one["ScalingAdjustment"]
        for one in steps
        if one.get("MetricIntervalLowerBound", -(10**9)) <= depth - threshold
        and (depth - threshold < one.get("MetricIntervalUpperBound", 10**9) or depth == threshold == 0)
    ]
    return int(found)


@pytest.mark.parametrize("kind", ["AWS::AutoScaling::ScalingPolicy", "AWS::ApplicationAutoScaling::ScalingPolicy"])
def test_workers_follow_the_guides_ladder(kind: str) -> None:
    template = templates.read(S3)
    policies = resources(template, kind)
    alarms = resources(template, "AWS::CloudWatch::Alarm").values()
    seen: dict[int, int] = {}
    for id_, own in policies.items():
        (alarm,) = [one for one in alarms if {"Ref": id_} in one["AlarmActions"]]
        assert {one["Id"] for one in alarm["Metrics"] if not one["ReturnData"]} == {"waiting", "leased"}
        grows = alarm["ComparisonOperator"] == "GreaterThanOrEqualToThreshold"
        assert grows or alarm["ComparisonOperator"] == "LessThanOrEqualToThreshold"
        steps = own.get("StepAdjustments") or own["StepScalingPolicyConfiguration"]["StepAdjustments"]
        for depth in (0, 1, 99, 100, 499, 500, 1999, 2000, 9999, 10_000, 10**6):
            if depth >= alarm["Threshold"] if grows else depth <= alarm["Threshold"]:
                assert depth not in seen
                seen[depth] = added(steps, alarm["Threshold"], depth)
    assert seen == {
        0: -10_000, 100: 1, 499: 1, 500: 2, 1999: 2, 2000: 5, 9999: 5, 10_000: 10, 10**6: 10,
    }  # fmt: skip


def machine(name: str) -> dict[str, Any]:
    """The state machine, with a name for every reference."""
    (own,) = resources(templates.read(name), "AWS::StepFunctions::StateMachine").values()
    found: dict[str, Any] = json.loads(rendered(own["DefinitionString"]))
    return found


def rendered(sub: Any) -> str:
    """`Fn::Sub`, with the name of each value in its place."""
    text = sub["Fn::Sub"][0] if isinstance(sub["Fn::Sub"], list) else sub["Fn::Sub"]
    return re.sub(r"\$\{([\w:]+)\}", lambda match: {"AWS::Partition": "aws"}.get(match[1], "value"), text)


@BOTH
def test_the_state_machines_are_what_the_language_allows(name: str, tmp_path: Path) -> None:
    file = tmp_path / "machine.json"
    file.write_text(json.dumps(machine(name)))
    code, said = templates.check("statelint", str(file))
    assert code == 0, said
    broken = machine(name)
    broken["States"]["Done"] = {"Type": "Pass", "Next": "Nowhere"}
    file.write_text(json.dumps(broken))
    code, said = templates.check("statelint", str(file))
    assert code, "a state that leads nowhere was not seen"


def test_a_transfer_that_goes_on_never_reaches_the_history_limit() -> None:
    states = machine(S3)["States"]
    (choice,) = states["Long?"]["Choices"]
    written = {"Task": 5, "Wait": 2, "Choice": 2, "Pass": 2}  # events that a state of the kind writes
    a_round = sum(written[states[one]["Type"]] for one in ("Wait", "Depth", "Empty?", "Quiet", "Over?", "Long?"))
    assert choice["NumericGreaterThanEquals"] * a_round + 5_000 < 25_000
    assert states["GoOn"]["Parameters"]["Input"]["rounds"] == 0


@BOTH
def test_nothing_names_a_partition_a_host_or_a_region(name: str) -> None:
    text = templates.path(name).read_text()
    assert re.findall(r"arn:aws[:-]", text) == []
    services = re.sub(r"com\.amazonaws\.\$\{AWS::Region\}", "", text)  # names of services, everywhere
    assert re.findall(r"amazonaws\.com(?:\.cn)?", re.sub(r'"[a-z0-9.-]+\.amazonaws\.com"', "", services)) == []
    assert re.findall(r"\b(?:us|eu|cn|ap|sa|ca|me|af|il)-[a-z]+-[0-9]\b", text) == []


@BOTH
def test_what_is_kept_is_encrypted_and_what_is_open_goes_out_only(name: str) -> None:
    template = templates.read(name)
    assert all(one["SqsManagedSseEnabled"] for one in resources(template, "AWS::SQS::Queue").values())
    assert all(one["KmsMasterKeyId"] for one in resources(template, "AWS::SNS::Topic").values())
    for table in resources(template, "AWS::DynamoDB::Table").values():
        assert table["SSESpecification"]["SSEEnabled"]
        assert table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"]
    for group in resources(template, "AWS::EC2::SecurityGroup").values():
        assert all("SourceSecurityGroupId" in one for one in group.get("SecurityGroupIngress", []))
    for kind, prefix in (("AWS::SQS::QueuePolicy", "sqs:"), ("AWS::SNS::TopicPolicy", "sns:")):
        for one in resources(template, kind).values():
            (deny,) = [each for each in one["PolicyDocument"]["Statement"] if each["Effect"] == "Deny"]
            assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
            assert deny["Action"].startswith(prefix)
    for launch in resources(template, "AWS::EC2::LaunchTemplate").values():
        data = launch["LaunchTemplateData"]
        assert data["MetadataOptions"]["HttpTokens"] == "required"
        assert all(one["Ebs"]["Encrypted"] for one in data["BlockDeviceMappings"])


def granted(template: dict[str, Any], role: str) -> set[str]:
    """Every action that a role may ever have, by any of its policies."""
    found: set[str] = set()
    for one in template["Resources"][role]["Properties"].get("Policies", []):
        found |= {each for statement in one["PolicyDocument"]["Statement"] for each in statement["Action"]}
    for one in resources(template, "AWS::IAM::Policy").values():
        if {"Ref": role} in one["Roles"]:
            found |= {each for statement in one["PolicyDocument"]["Statement"] for each in statement["Action"]}
    return found


@pytest.mark.parametrize(
    ("role", "part"), [("FinderRole", Role.FINDER), ("WorkerRole", Role.WORKER), ("MultipartRole", Role.MULTIPART)]
)
def test_roles_hold_what_the_engine_asks_for_and_nothing_else(role: str, part: Role) -> None:
    job = TransferJob(
        src_bucket="src", dest_bucket="dst", queue=f"arn:aws:sqs:{HERE}:q", table=f"arn:aws:dynamodb:{HERE}:table/t", dest_acl="private",
        src_event="CreateAndDelete", dest_sse="AWS_KMS", dest_sse_kms_key_id="k",
    )  # fmt: skip
    asked = {action for one in policy(part, job)["Statement"] for action in one["Action"]}
    more = {"secretsmanager:GetSecretValue"}
    tells = {"cloudwatch:PutMetricData", "logs:CreateLogStream", "logs:PutLogEvents"}
    more |= {Role.FINDER: {"s3:GetObject"}, Role.WORKER: tells}.get(part, set())
    assert granted(templates.read(S3), role) == asked | more


def containers(name: str) -> dict[str, dict[str, Any]]:
    """Each task's container, by its command."""
    found = {}
    for one in resources(templates.read(name), "AWS::ECS::TaskDefinition").values():
        (container,) = one["ContainerDefinitions"]
        found[container["Command"][0]] = container
    return found


@BOTH
def test_settings_of_the_containers_exist_and_take_the_parameters_defaults(name: str) -> None:
    template = templates.read(name)
    defaults = {key: str(one.get("Default", "")) for key, one in template["Parameters"].items()}
    defaults |= {"srcBucket": "photos", "destBucket": "photos-copy", "destRegion": "eu-west-1"}
    for command, container in containers(name).items():
        environment = {
            one["Name"]: str(defaults.get(one["Value"].get("Ref"), ""))
            if isinstance(one["Value"], dict)
            else one["Value"]
            for one in container["Environment"]
        }
        known = set((TransferJob if name == S3 else ImageJob).model_fields)
        assert {one.removeprefix("DTH_").lower() for one in environment} <= known, command
        if name == ECR:
            assert load_image_settings({}, environment, None).include_untagged
        else:
            job = load_settings({}, environment, None)
            assert (job.dest_storage_class, job.dest_acl) == ("INTELLIGENT_TIERING", "bucket-owner-full-control")
            assert (job.include_metadata, job.finder_number, job.worker_number) == (True, 0, 0)


def script(settings: dict[str, str]) -> str:
    """The user data of the launch template, with these values for references to parameters."""
    (launch,) = resources(templates.read(S3), "AWS::EC2::LaunchTemplate").values()
    return joined(launch["LaunchTemplateData"]["UserData"]["Fn::Base64"], settings)


def joined(value: Any, settings: dict[str, str]) -> str:
    if isinstance(value, str):
        return value
    ((kind, inner),) = value.items()
    if kind == "Fn::Join":
        return str(inner[0]).join(joined(one, settings) for one in inner[1])
    if kind == "Fn::Sub":
        return re.sub(r"\$\{([\w:]+)\}", lambda match: settings.get(match[1], "x"), inner)
    return settings.get(inner if kind == "Ref" else "", "") if isinstance(inner, str) else ""


@pytest.mark.tools
def test_the_user_data_is_a_sound_script(tmp_path: Path) -> None:
    file = tmp_path / "user-data.sh"
    file.write_text(script({"artefact": "s3://bucket/key#" + "0" * 64}))
    assert file.stat().st_size < 16_384
    tools.check("shellcheck", str(file))


def test_settings_reach_the_script_as_they_were_given_whatever_they_hold(tmp_path: Path) -> None:
    odd = """it's "quoted" \\ $HOME `id` # %d"""
    text = script({"artefact": "s3://bucket/key#" + "0" * 64, "srcPrefix": odd, "srcBucket": "photos"})
    head = text.split("# Makes a fresh Linux machine")[0].replace("#!/bin/sh\n#!/bin/sh", "#!/bin/sh")
    file = tmp_path / "head.sh"
    file.write_text(head + 'printf "%s\\n" "$SETTINGS" "$ARTEFACT" "$SHA256"\n')
    lines = subprocess.run(["sh", str(file)], capture_output=True, text=True, check=True).stdout.splitlines()
    quoted = odd.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("`", "\\`")
    assert f'DTH_SRC_PREFIX="{quoted}"' in lines
    assert 'DTH_SRC_BUCKET="photos"' in lines
    assert lines[-2:] == ["s3://bucket/key", "0" * 64]


def test_what_is_published_has_its_image_and_artefact_as_defaults(tmp_path: Path) -> None:
    artefact = tmp_path / "root.tar.gz"
    artefact.write_bytes(b"a file system")
    published = filled(templates.read(S3), "repository/dth:1", place(artefact, "my-bucket", "dth"))
    digest = hashlib.sha256(b"a file system").hexdigest()
    assert published["Parameters"]["artefact"]["Default"] == f"s3://my-bucket/dth/root.tar.gz#{digest}"
    assert re.match(
        published["Parameters"]["artefact"]["AllowedPattern"], published["Parameters"]["artefact"]["Default"]
    )
    assert published["Parameters"]["image"]["Default"] == "repository/dth:1"
    assert filled(templates.read(ECR), "repository/dth:1", "")["Parameters"]["image"]["Default"] == "repository/dth:1"


def test_the_function_for_notifications_fits_into_a_template() -> None:
    (function,) = resources(templates.read(S3), "AWS::Lambda::Function").values()
    assert len(function["Code"]["ZipFile"]) < 4_096
    assert len(resources(templates.read(ECR), "AWS::Lambda::Function")) == 0


def made_network(kind: str) -> dict[str, list[dict[str, Any]]]:
    """Resources of the network that is made for that value of the parameter, by type."""
    template = templates.read(S3)
    values = {"ec2VpcId": "", "network": kind}

    def holds(condition: Any) -> bool:
        ((name, inner),) = condition.items()
        if name == "Condition":
            return holds(template["Conditions"][inner])
        if name == "Fn::Equals":
            return len({values.get(one["Ref"], "?") if isinstance(one, dict) else one for one in inner}) == 1
        results = [holds(one) for one in inner]
        return {"Fn::And": all(results), "Fn::Or": any(results), "Fn::Not": not results[0]}[name]

    found: dict[str, list[dict[str, Any]]] = {}
    for name, one in template["Resources"].items():
        made = "Condition" not in one or holds({"Condition": one["Condition"]})
        if made and name.startswith("Network"):
            found.setdefault(one["Type"].removeprefix("AWS::EC2::"), []).append(one.get("Properties", {}))
    return found


@pytest.mark.parametrize(
    ("kind", "subnets", "nats", "ways", "interfaces"), [("PUBLIC", 2, 0, 1, 0), ("PRIVATE", 4, 1, 1, 0), ("ISOLATED", 2, 0, 0, 9)]
)  # fmt: skip
def test_a_network_is_made_as_open_as_it_was_asked_for(
    kind: str, subnets: int, nats: int, ways: int, interfaces: int
) -> None:
    found = made_network(kind)
    endpoints = [one["VpcEndpointType"] for one in found["VPCEndpoint"]]
    assert (len(found["Subnet"]), len(found.get("NatGateway", []))) == (subnets, nats)
    assert len(found.get("InternetGateway", [])) == ways
    assert (endpoints.count("Gateway"), endpoints.count("Interface")) == (2, interfaces)
    assert len({str(one["CidrBlock"]) for one in found["Subnet"]}) == subnets
    out = [one for one in found.get("Route", []) if one["DestinationCidrBlock"] == "0.0.0.0/0"]
    assert len(out) == ways + nats
