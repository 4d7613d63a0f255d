"""What a dry run says of cost, sizes and time, and how --max-cost refuses."""

from __future__ import annotations

import pytest

from dth.app.plan import BOUNDS, GIGABIT, Plan
from dth.app.sides import Sides
from dth.cli.output.summary import details
from dth.errors import CostRefused, SettingsError
from dth.events import Planned
from dth.prices import DATE
from dth.settings import TransferJob
from dth.states import Side
from dth.summary import Tally
from tests.unit.test_prices import store

MIB = 1 << 20


def plan(job: TransferJob, *, aws: bool = True) -> Plan:
    kind = "Amazon_S3" if aws else "Ceph_RGW"
    endpoint = "" if aws else "http://127.0.0.1:1"
    return Plan(
        job,
        Sides(store(Side.SOURCE, kind, endpoint, "eu-west-1"), store(Side.DESTINATION, kind, endpoint, "us-east-1")),
    )


def copied(size: int) -> Planned:
    return Planned("copy", "k", "k", size, "missing")


def test_requests_are_those_that_the_copy_makes() -> None:
    found = plan(TransferJob(part_size=8 * MIB))
    for event in (copied(0), copied(16 * MIB), copied(20 * MIB), Planned("delete", "k", "k", 1, "extra")):
        found.heard(event)
    assert found.requests() == {
        "source": {"GetObject": 2 + 3 + 2, "HeadObject": 1 + 2},
        "destination": {
            "PutObject": 2, "CreateMultipartUpload": 1, "UploadPart": 3, "CompleteMultipartUpload": 1, "HeadObject": 1,
            "DeleteObject": 1,
        },
    }  # fmt: skip
    assert found.bytes == 36 * MIB


def test_sizes_stand_in_classes_and_time_follows_the_rate() -> None:
    found = plan(TransferJob(bandwidth=36 * MIB))
    for size in (0, 4096, 4097, 64 << 30):
        found.heard(copied(size))
    said = found.estimated()
    assert said.sizes == [
        {"up_to": BOUNDS[0], "objects": 2, "bytes": 4096},
        {"up_to": BOUNDS[1], "objects": 1, "bytes": 4097},
        {"up_to": 0, "objects": 1, "bytes": 64 << 30},
    ]
    assert said.rate == 36 * MIB
    assert said.seconds == pytest.approx((64 << 30) / (36 * MIB), rel=0.01)
    assert plan(TransferJob()).estimated().rate == GIGABIT
    assert plan(TransferJob(bandwidth=5, plan_rate=7)).estimated().rate == 7


def test_money_is_said_with_its_date_and_what_is_missing() -> None:
    found = plan(TransferJob())
    for _ in range(1000):
        found.heard(copied(1 << 20))
    said = found.estimated()
    assert said.cost is not None
    assert said.cost["usd"] == pytest.approx(0.0004 + 0.005 + 0.02 * 1000 / 1024, abs=1e-6)
    tally = Tally()
    for event in (copied(1 << 20), said):
        tally(event)
    lines = "\n".join(details(tally.summary(), verbose=False))
    assert "costs about $0.0249" in lines
    assert f"AWS's prices of {DATE}, eu-west-1, us-east-1" in lines
    assert "not priced: storage" in lines
    assert "at 119 MiB/s the copy takes 8.40 s" in lines


def test_a_plan_that_costs_more_is_refused_and_one_without_prices_too() -> None:
    found = plan(TransferJob())
    for _ in range(1000):
        found.heard(copied(1 << 20))
    found.refuse_beyond(0.0255)
    with pytest.raises(CostRefused, match=r"about \$0\.0249, and --max-cost allows \$0\.0200"):
        found.refuse_beyond(0.02)
    with pytest.raises(SettingsError, match="nothing of this job has a price"):
        plan(TransferJob(), aws=False).refuse_beyond(1.0)
