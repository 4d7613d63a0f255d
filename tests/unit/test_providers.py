"""Which provider an endpoint and a setting mean, and where its requests go."""

from __future__ import annotations

from typing import get_args

import botocore.loaders
import pytest

from dth.errors import SettingsError
from dth.settings.transfer import StoreType
from dth.stores.providers import (
    PROFILES,
    capabilities,
    choose_profile,
    endpoint_of,
    origin_of,
    recognise_host,
    recognise_server,
    region_in,
)
from dth.transport.base import Origin

HOSTS = [
    ("s3.us-east-1.amazonaws.com", "Amazon_S3", "us-east-1"),
    ("https://s3.amazonaws.com", "Amazon_S3", ""),
    ("s3-eu-west-1.amazonaws.com", "Amazon_S3", "eu-west-1"),
    ("bucket.s3.dualstack.us-west-2.amazonaws.com", "Amazon_S3", "us-west-2"),
    ("s3-fips.us-gov-west-1.amazonaws.com", "Amazon_S3", "us-gov-west-1"),
    ("b.s3-accelerate.amazonaws.com", "Amazon_S3", ""),
    ("s3.cn-north-1.amazonaws.com.cn", "Amazon_S3", "cn-north-1"),
    ("oss-cn-hangzhou.aliyuncs.com", "Aliyun_OSS", "cn-hangzhou"),
    ("b.oss-cn-hangzhou-internal.aliyuncs.com", "Aliyun_OSS", "cn-hangzhou"),
    ("oss-accelerate.aliyuncs.com", "Aliyun_OSS", ""),
    ("s3-cn-east-1.qiniucs.com", "Qiniu_Kodo", "cn-east-1"),
    ("s3.cn-east-1.qiniucs.com", "Qiniu_Kodo", "cn-east-1"),
    ("cos.ap-guangzhou.myqcloud.com", "Tencent_COS", "ap-guangzhou"),
    ("b-125.cos.ap-guangzhou.myqcloud.com", "Tencent_COS", "ap-guangzhou"),
    ("cos.accelerate.myqcloud.com", "Tencent_COS", ""),
    ("obs.cn-north-4.myhuaweicloud.com", "Huawei_OBS", "cn-north-4"),
    ("s3.bj.bcebos.com", "Baidu_BOS", "bj"),
    ("storage.googleapis.com", "Google_GCS", ""),
    ("0123456789abcdef0123456789abcdef.r2.cloudflarestorage.com", "Cloudflare_R2", ""),
    ("0123456789abcdef0123456789abcdef.eu.r2.cloudflarestorage.com", "Cloudflare_R2", ""),
]


@pytest.mark.parametrize(("endpoint", "provider", "region"), HOSTS)
def test_known_hosts_name_their_provider_and_region(endpoint: str, provider: str, region: str) -> None:
    profile = recognise_host(endpoint)
    assert profile is not None
    assert (profile.name, region_in(profile, endpoint)) == (provider, region)
    assert choose_profile("", endpoint) is profile
    assert choose_profile("Amazon_S3", endpoint) is profile


@pytest.mark.parametrize(
    "endpoint",
    ["http://127.0.0.1:9000", "minio.example.com", "https://s3.amazonaws.com.evil.example", "notamazonaws.com",
     "s3.us-east-1.amazonaws.com.example", "[::1]:9000", "https://bj.bcebos.com"],
)  # fmt: skip
def test_other_hosts_are_s3_compatible_whatever_the_guide_calls_them(endpoint: str) -> None:
    assert choose_profile("", endpoint).name == "S3_Compatible"
    assert choose_profile("Amazon_S3", endpoint).name == "S3_Compatible"
    assert choose_profile("MinIO", endpoint).name == "MinIO"


def test_without_an_endpoint_it_is_aws() -> None:
    assert choose_profile("", "").name == "Amazon_S3"


def test_an_unknown_provider_is_an_error_that_names_the_known() -> None:
    with pytest.raises(SettingsError, match="Ceph_RGW"):
        choose_profile("Nonsense", "")


def test_every_provider_that_settings_allow_has_a_profile() -> None:
    assert {name for name in get_args(StoreType) if name} == set(PROFILES)


def test_every_template_makes_an_endpoint_that_its_own_hosts_recognise() -> None:
    for profile in PROFILES.values():
        if profile.endpoint:
            assert recognise_host(endpoint_of(profile, "", "")) is profile, profile.name


def test_every_region_of_every_aws_partition_gets_the_host_that_botocore_gives_it() -> None:
    for partition in botocore.loaders.Loader().load_data("partitions")["partitions"]:
        for region in partition["regions"]:
            if region.startswith("aws-"):
                continue  # a pseudo region
            suffix = partition["outputs"]["dnsSuffix"]
            endpoint = endpoint_of(PROFILES["Amazon_S3"], "", region)
            assert endpoint == f"https://s3.{region}.{suffix}"
            assert region_in(PROFILES["Amazon_S3"], endpoint) == region


def test_a_provider_without_a_template_needs_an_endpoint() -> None:
    with pytest.raises(SettingsError, match="needs an endpoint"):
        endpoint_of(PROFILES["MinIO"], "", "")


@pytest.mark.parametrize(
    ("endpoint", "origin"),
    [
        ("https://h", Origin("https", "h", 443)),
        ("h:9000", Origin("https", "h", 9000)),
        ("http://[::1]:80/", Origin("http", "::1", 80)),
    ],
)
def test_endpoints_become_origins(endpoint: str, origin: Origin) -> None:
    assert origin_of(endpoint) == origin


@pytest.mark.parametrize(
    "endpoint", ["ftp://h", "https://", "https://h/path", "https://u:secret@h", "http://h:99999", "http://h?x"]
)
def test_what_is_no_endpoint_is_refused_without_showing_a_password(endpoint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        origin_of(endpoint)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("header", "provider"),
    [
        ("SeaweedFS 8000GB 4.48", "SeaweedFS"),
        ("MinIO", "MinIO"),
        ("MinIO/RELEASE.2024", "MinIO"),
        ("AliyunOSS", "Aliyun_OSS"),
    ],
)
def test_servers_that_name_themselves_are_recognised(header: str, provider: str) -> None:
    profile = recognise_server(header)
    assert profile is not None
    assert profile.name == provider


@pytest.mark.parametrize("header", ["", "nginx", "cloudflare", "Jobs", "TornadoServer/6"])
def test_other_servers_are_not(header: str) -> None:
    assert recognise_server(header) is None


def test_checksums_and_conditional_writes_are_for_those_who_have_them() -> None:
    with_checksums = {name for name, profile in PROFILES.items() if capabilities(profile, "https").checksums}
    assert with_checksums == {"Amazon_S3", "SeaweedFS"}


def test_seaweeds_rules_name_what_it_would_fold_or_lose() -> None:
    rules = PROFILES["SeaweedFS"].key_rules
    for key, size in (("a//b", 1), ("/a", 1), ("a/../b", 1), ("x" * 256, 1), ("a/", 1), ("a\\b", 1)):
        assert rules.refusal(key, size), key
    for key, size in (("a/", 0), ("a/b", 1), ("..a", 1)):
        assert rules.refusal(key, size) == "", key
