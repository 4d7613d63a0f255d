"""Which job it is: locations, mapping, id, and what the ledger keeps."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dth.errors import SettingsError
from dth.partitions import PARTITIONS, Partition
from dth.settings import (
    TransferJob,
    contradicted,
    dest_location,
    from_run_settings,
    job_id,
    load_settings,
    mapping,
    reached_as,
    run_settings_json,
    source_location,
    sse_header,
)
from dth.states import Side


def job(**flags: Any) -> TransferJob:
    return load_settings({"src_bucket": "photos", "dest_bucket": "backup", **flags}, {}, None)


def test_locations_hold_names_of_credentials_and_nothing_else_of_them() -> None:
    one = job(src_profile="prod", dest_credentials="secret", dest_endpoint="minio:9000", src_request_payer=True)
    source, destination = source_location(one), dest_location(one)
    assert (source.side, source.provider, source.endpoint, source.profile) == (Side.SOURCE, "Amazon_S3", "", "prod")
    assert source.request_payer
    assert (destination.side, destination.provider) == (Side.DESTINATION, "")  # the endpoint says what it is
    assert (destination.endpoint, destination.credentials) == ("https://minio:9000", "secret")


def test_the_mapping_of_the_guide_adds_and_that_of_urls_replaces() -> None:
    guide = mapping(job(src_prefix="a", dest_prefix="b"))
    assert guide.dest_key("a/x") == "b/a/x"
    urls = mapping(job(src_prefix="a/", dest_prefix="b/", strip_src_prefix=True))
    assert urls.dest_key("a/x") == "b/x"


def test_a_job_is_the_same_wherever_its_credentials_come_from() -> None:
    plain = job_id(job())
    assert plain == job_id(job(src_profile="x", dest_credentials="y", src_region="eu-west-1", src_type="Amazon_S3"))
    assert plain == job_id(job(verify="full", worker_number=5))
    assert len(plain) == 16


@pytest.mark.parametrize(
    "flags",
    [
        {"src_bucket": "others"}, {"dest_bucket": "others"}, {"src_prefix": "a"}, {"dest_prefix": "a"},
        {"src_endpoint": "minio:9000"}, {"dest_endpoint": "minio:9000"},
        {"dest_region": "cn-north-1"}, {"dest_region": "eusc-de-east-1"}, {"dest_type": "Aliyun_OSS", "dest_region": "x"},
    ],
)  # fmt: skip
def test_another_place_or_mapping_is_another_job(flags: dict[str, Any]) -> None:
    assert job_id(job(**flags)) != job_id(job())


def test_stripping_makes_another_job_only_where_there_is_a_prefix_to_strip() -> None:
    assert job_id(job(strip_src_prefix=True)) == job_id(job())
    assert job_id(job(strip_src_prefix=True, src_prefix="a")) != job_id(job(src_prefix="a"))


def test_the_same_buckets_in_two_partitions_are_two_jobs() -> None:
    homes = [one.home for one in PARTITIONS]
    assert len(homes) == 8
    assert len({job_id(job(dest_region=home)) for home in homes}) == len(homes)
    assert len({job_id(job(src_region=home)) for home in homes}) == len(homes)


def test_the_hash_does_not_change_between_versions() -> None:
    assert job_id(job()) == "25ebddc8ef862f4e"


def test_a_given_job_id_wins() -> None:
    assert job_id(job(job_id="nightly")) == "nightly"


def test_the_ledger_gets_the_jobs_settings_and_none_of_the_process() -> None:
    fields = json.loads(run_settings_json(job(memory_budget="1GiB", verify="full", report="/x", src_profile="prod")))
    assert fields["verify"] == "full"
    assert fields["src_profile"] == "prod"
    assert fields["multipart_threshold"] == 16 * 2**20  # defaults too: another version may have others
    assert not {"memory_budget", "report", "state", "src_proxy", "processes"} & fields.keys()


@given(
    st.builds(
        job,
        src_prefix=st.text(max_size=8),
        dest_prefix=st.text(max_size=8),
        verify=st.sampled_from(["off", "transfer", "full"]),
        multipart_threshold=st.integers(1, 2**30),
        no_clobber=st.booleans(),
    )
)
def test_a_runs_settings_read_back_as_the_same_job(one: TransferJob) -> None:
    text = run_settings_json(one)
    again = from_run_settings(text)
    assert run_settings_json(again) == text
    assert job_id(again) == job_id(one)
    assert (source_location(again), dest_location(again)) == (source_location(one), dest_location(one))
    assert mapping(again) == mapping(one)


def test_a_run_brings_how_to_copy_and_the_process_its_own_limits() -> None:
    stored = run_settings_json(job(verify="full", memory_budget="1GiB"))
    mixed = from_run_settings(stored, process=job(verify="off", memory_budget="2MiB"))
    assert (mixed.verify, mixed.memory_budget) == ("full", 2 * 2**20)


def test_a_run_of_a_newer_version_is_refused_by_name() -> None:
    stored = json.loads(run_settings_json(job())) | {"quantum": True}
    with pytest.raises(SettingsError, match="does not know quantum"):
        from_run_settings(json.dumps(stored))


def test_only_settings_that_were_given_can_contradict_a_run() -> None:
    stored = run_settings_json(job(verify="full"))
    assert contradicted(job(), stored) == []
    assert contradicted(job(verify="full", worker_number=3), stored) == []
    assert contradicted(job(verify="off", src_prefix="x"), stored) == ["src_prefix", "verify"]


def test_encryption_is_sent_only_where_asked_for() -> None:
    assert [sse_header(job(dest_sse=sse)) for sse in ("None", "AES256", "AWS_KMS")] == ["", "AES256", "aws:kms"]


SAME = {"dest_bucket": "photos"}


@pytest.mark.parametrize(
    "flags",
    [
        {},
        {"dest_prefix": "copy"},  # read everything, written below
        {"src_prefix": "a/", "strip_src_prefix": True},  # written everywhere
        {"src_prefix": "a/", "dest_prefix": "a/b/", "strip_src_prefix": True},
        {"src_prefix": "a/b/", "dest_prefix": "a/", "strip_src_prefix": True},
        {"src_prefix": "a", "dest_prefix": "ab"},  # a prefix is text, not a folder
        {"src_prefix": "a/"},  # the guide's mapping onto itself
        {"src_endpoint": "minio:9000", "dest_endpoint": "https://MINIO:9000/"},
        {"src_endpoint": "s3.eu-west-1.amazonaws.com"},  # AWS by either name
        {"src_region": "cn-north-1"},  # the other side may be there too
    ],
)  # fmt: skip
def test_sides_that_contain_each_other_are_refused(flags: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=r"contains the other|the same place"):
        job(**SAME, **flags)


@pytest.mark.parametrize(
    "flags",
    [
        {"src_prefix": "a/", "dest_prefix": "b/", "strip_src_prefix": True},
        {"src_prefix": "a", "dest_prefix": "b"},
        {"dest_endpoint": "minio:9000"},
        {"src_region": "us-west-2", "dest_region": "cn-north-1"},
        {"src_endpoint": "minio:9000", "dest_endpoint": "minio:9001"},
    ],
)  # fmt: skip
def test_sides_apart_are_accepted_even_under_one_bucket_name(flags: dict[str, Any]) -> None:
    assert job(**SAME, **flags)


@pytest.mark.parametrize("source", PARTITIONS, ids=lambda one: one.id)
@pytest.mark.parametrize("target", PARTITIONS, ids=lambda one: one.id)
def test_one_bucket_name_is_the_same_place_within_one_partition_only(source: Partition, target: Partition) -> None:
    by_region = {"src_region": source.home, "dest_region": target.home}
    by_host = {"src_endpoint": source.host("s3", source.home), "dest_region": target.home}
    for where in (by_region, by_host):
        if source is target:
            with pytest.raises(SettingsError, match="the same place"):
                job(**SAME, **where)
        else:
            assert job(**SAME, **where)


def test_two_providers_are_two_places_although_neither_has_an_endpoint() -> None:
    assert job(**SAME, dest_type="Aliyun_OSS", dest_region="cn-hangzhou")


def test_an_interrupted_run_goes_on_with_the_credentials_that_are_named_now() -> None:
    stored = job(src_profile="gone", dest_credentials="old", dest_acl="private")
    now = job(src_profile="new", dest_profile="other", dest_acl="public-read")
    reached = reached_as(stored, now)
    assert (reached.src_profile, reached.dest_profile, reached.dest_credentials) == ("new", "other", "")
    assert reached.dest_acl == "private"  # how to copy is the run's


def test_credentials_go_to_no_other_place_than_they_were_named_for() -> None:
    stored = job(job_id="mine", src_profile="a", dest_profile="b")
    now = job(job_id="mine", src_endpoint="https://elsewhere", dest_bucket="third", src_profile="c", dest_profile="d")
    assert reached_as(stored, now) == stored


def test_a_proxy_is_no_part_of_the_job_that_is_stored() -> None:
    one = job(src_proxy="http://me:hush@proxy:1")
    assert "hush" not in run_settings_json(one)
    assert from_run_settings(run_settings_json(one), process=one).src_proxy == one.src_proxy
