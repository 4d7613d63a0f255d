"""Which parts an upload has."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dth.multipart.plan import DEFAULT_PART, MIB, PartPlan, PlanImpossible, aligned_part_size, plan_parts
from tests.servers.memory_store import AWS_LIKE

AWS = replace(AWS_LIKE, part_min=5 * MIB, object_max=50 * 10**12)


def spans(plan: PartPlan) -> list[tuple[int, int]]:
    return [plan.span(number) for number in range(1, plan.count + 1)]


@given(
    size=st.integers(0, 60 << 40),
    wanted=st.one_of(st.just(0), st.integers(1, 8 << 30)),
    parts_max=st.integers(1, 10_000),
    limits=st.tuples(st.integers(0, 6 * MIB), st.integers(6 * MIB, 5 << 30)),
)
def test_a_plan_keeps_the_limits_and_its_parts_cover_the_object_exactly_once(
    size: int, wanted: int, parts_max: int, limits: tuple[int, int]
) -> None:
    capabilities = replace(AWS, part_min=limits[0], part_max=limits[1], parts_max=parts_max)
    try:
        plan = plan_parts(size, capabilities, wanted)
    except PlanImpossible:
        assert size > capabilities.object_max or size > parts_max * limits[1]
        return
    assert 1 <= plan.count <= parts_max
    assert max(limits[0], 1) <= plan.part_size <= limits[1]
    first, last = plan.span(1), plan.span(plan.count)
    assert (first.start, last.stop) == (0, size)
    assert plan.count == 1 or (first.length == plan.part_size and 0 < last.length <= plan.part_size)
    middle = plan.count // 2 + 1
    if middle > 1:
        assert plan.span(middle).start == plan.span(middle - 1).stop


@pytest.mark.parametrize(
    ("size", "count"),
    [(0, 1), (1, 1), (DEFAULT_PART, 1), (DEFAULT_PART + 1, 2), (10_000 * DEFAULT_PART, 10_000)],
)
def test_parts_have_the_default_size_as_long_as_ten_thousand_are_enough(size: int, count: int) -> None:
    assert plan_parts(size, AWS, 0) == PartPlan(size, DEFAULT_PART, count)


def test_parts_grow_in_whole_mebibytes_where_ten_thousand_would_not_be_enough() -> None:
    plan = plan_parts(10_000 * DEFAULT_PART + 1, AWS, 0)
    assert plan.part_size == DEFAULT_PART + MIB
    assert plan.count <= 10_000


def test_fifty_terabytes_fit_and_one_byte_more_is_refused_by_name() -> None:
    plan = plan_parts(50 * 10**12, AWS, 0)
    assert plan.count <= 10_000
    assert plan.part_size <= 5 << 30
    with pytest.raises(PlanImpossible, match="takes objects up to 50000000000000"):
        plan_parts(50 * 10**12 + 1, AWS, 0)


def test_more_than_ten_thousand_of_the_largest_parts_is_refused_by_name() -> None:
    with pytest.raises(PlanImpossible, match="hold only"):
        plan_parts(11, replace(AWS, part_min=1, part_max=1, parts_max=10), 0)


def test_small_plans_are_told_span_by_span() -> None:
    assert spans(plan_parts(10, replace(AWS, part_min=1), 4)) == [(0, 4), (4, 8), (8, 10)]


@pytest.mark.parametrize(
    ("count", "size", "part"),
    [(3, 20 * MIB, 8 * MIB), (2, 20 * MIB, 16 * MIB), (4, 20 * MIB, 5 * MIB), (7, 20 * MIB, 0), (0, 20 * MIB, 0)],
)
def test_the_sources_own_part_size_is_guessed_from_the_number_of_its_parts(count: int, size: int, part: int) -> None:
    assert aligned_part_size("a" * 32 + f"-{count}", size, AWS) == part


def test_nothing_is_guessed_from_other_etags_or_for_other_stores() -> None:
    assert aligned_part_size("a" * 32, 20 * MIB, AWS) == 0
    assert aligned_part_size("a" * 32 + "-3", 20 * MIB, replace(AWS, multipart_etag=False)) == 0
