"""The tables of docs/cost.md: their sums, at the guide's prices and with the requests that tests of real runs allow."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests import bounds
from tests.servers import templates

PAGE = Path(__file__).parents[2] / "docs/cost.md"
GET, PUT, EGRESS = 0.0004 / 1000, 0.005 / 1000, 0.09
UNIT, SQS = 1.25 / 10**6, 0.40 / 10**6
T4G_MICRO, T4G_CPU_HOUR, CORES = 0.0084, 0.04, 2
FARGATE_CORE, FARGATE_GB, TRANSITION = 0.04048, 0.004445, 0.000025
KEY, SECRET, MONTH = 1.00, 0.40, 730
NET = 0.25 * FARGATE_CORE + 0.5 * FARGATE_GB
"""An hour of the multipart net's container."""
PLANNING, COPYING = 30, 360


def table(number: int) -> dict[str, tuple[float, float]]:
    """The guide's figure and ours, by row."""
    text = PAGE.read_text().split(f"### Example {number}:")[1].split("\n#")[0]
    rows = re.findall(r"^\| ([\w ]+) \| ([\d.,]+) \| ([\d.,]+) \|", text, re.MULTILINE)
    return {name: (float(guide.replace(",", "")), float(ours.replace(",", ""))) for name, guide, ours in rows}


def ours(number: int) -> dict[str, float]:
    return {name: figure for name, (_, figure) in table(number).items()}


def reckoned(**rows: float) -> dict[str, float]:
    """With their sum."""
    named = {name.replace("_", " "): figure for name, figure in rows.items()}
    return {**named, "sum": sum(named.values())}


def test_objects_of_50_mb() -> None:
    count, hours = 20_480, 17
    assert ours(1) == pytest.approx(
        reckoned(
            machines=hours * T4G_MICRO,
            S3=count * (bounds.READS_OF_MEDIUM * GET + bounds.WRITES_OF_MEDIUM * PUT),
            DynamoDB=count * bounds.UNITS_OF_MEDIUM * UNIT,
            SQS=count * bounds.SQS_OF_MEDIUM * SQS,
            egress=1024 * EGRESS,
            others=1 + hours * NET,
        ),
        abs=0.006,
    )
    assert ours(1)["sum"] < table(1)["sum"][0] + 0.5


def test_objects_of_10_kb() -> None:
    count = 107_400_000
    cpu_hours = count * bounds.CPU_SECONDS_OF_SMALL / 3600
    each = count / bounds.SMALL_OBJECTS
    found = ours(2)
    assert found == pytest.approx(
        reckoned(
            machines=cpu_hours * (T4G_MICRO / CORES + T4G_CPU_HOUR),
            S3=count * (bounds.READS_OF_SMALL * GET + bounds.WRITES_OF_SMALL * PUT) + 2 * count / 1000 * PUT,
            DynamoDB=each * bounds.WRITE_UNITS * UNIT,
            SQS=each * bounds.SQS_REQUESTS * SQS,
            egress=1024 * EGRESS,
            others=30 * (NET + (KEY + SECRET) / MONTH),
        ),
        abs=0.006,
    )
    rest = found["sum"] - found["S3"] - found["egress"]
    assert found["sum"] <= 690
    assert rest <= 15
    assert f"without S3 and egress: {rest:.2f}" in PAGE.read_text()


@pytest.mark.templates
def test_images() -> None:
    template = templates.read(templates.ECR)
    tasks = templates.resources(template, "AWS::ECS::TaskDefinition").values()
    (size,) = {(one["Cpu"], one["Memory"]) for one in tasks}
    hour = int(size[0]) / 1024 * FARGATE_CORE + int(size[1]) / 1024 * FARGATE_GB
    assert ours(3) == pytest.approx(
        reckoned(
            Lambda=0,
            Step_Functions=len(path(template)) * TRANSITION,
            Fargate=(PLANNING + COPYING) / 3600 * hour,
            SQS_and_DynamoDB=27 * (bounds.SQS_OF_MEDIUM * SQS + bounds.UNITS_OF_MEDIUM * UNIT),
            egress=3 * EGRESS,
        ),
        abs=0.00006,
    )


def path(template: dict[str, Any]) -> list[str]:
    """The states of a run that goes well."""
    (machine,) = templates.resources(template, "AWS::StepFunctions::StateMachine").values()
    found = json.loads(machine["DefinitionString"]["Fn::Sub"][0])
    names = [found["StartAt"]]
    while following := found["States"][names[-1]].get("Next") or found["States"][names[-1]].get("Default"):
        names.append(following)
    return names
