"""Names of images, as people and the original's parameter files write them."""

from __future__ import annotations

import pytest

from dth.ecr.reference import Reference, companion_of, dest_repository, hub_name, parse_list, parse_reference
from dth.errors import SettingsError

HEX = "ab" * 32


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ubuntu", Reference("", "ubuntu", "latest")),
        ("ubuntu:22.04", Reference("", "ubuntu", "22.04")),
        ("team/app:ALL_TAGS", Reference("", "team/app", "ALL_TAGS")),
        ("localhost/app", Reference("localhost", "app", "latest")),
        ("registry.example:5000/team/app", Reference("registry.example:5000", "team/app", "latest")),
        ("127.0.0.1:5000/app:v1", Reference("127.0.0.1:5000", "app", "v1")),
        (f"app@sha256:{HEX}", Reference("", "app", "", f"sha256:{HEX}")),
        (f"host:5000/app:v1@sha256:{HEX}", Reference("host:5000", "app", "v1", f"sha256:{HEX}")),
        ("public.ecr.aws/docker/library/nginx:1", Reference("public.ecr.aws", "docker/library/nginx", "1")),
        ("a__b/c-d.e_f", Reference("", "a__b/c-d.e_f", "latest")),
    ],
)
def test_a_reference_is_read_as_docker_reads_it_and_written_back(text: str, expected: Reference) -> None:
    assert parse_reference(text) == expected
    assert parse_reference(str(expected)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":v1",
        "UPPER",
        "app:",
        "app@sha256:12",
        "app@md5:aa",
        "a//b",
        "app:-x",
        "-a",
        "host:port/app",
        "a b",
        "app:a/b",
    ],
)
def test_what_is_no_image_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(SettingsError, match="an image looks like"):
        parse_reference(text)


def test_a_list_is_separated_by_anything_that_the_original_took() -> None:
    text = "ubuntu:20.04,\r\nalpine , team/app:ALL_TAGS\\nnginx:1\n\n  alpine:latest,"
    assert [str(one) for one in parse_list(text)] == ["ubuntu:20.04", "alpine:latest", "team/app:ALL_TAGS", "nginx:1"]


def test_a_companion_tag_names_its_image() -> None:
    assert companion_of(f"sha256-{HEX}.sig") == f"sha256:{HEX}"
    assert companion_of(f"sha256-{HEX}") == f"sha256:{HEX}"
    assert companion_of("sha256-short") == ""
    assert companion_of("v1") == ""


def test_the_prefix_is_a_folder_of_the_destination() -> None:
    assert dest_repository("", "team/app") == "team/app"
    assert dest_repository("mirror", "team/app") == "mirror/team/app"
    assert dest_repository("/mirror/x/", "app") == "mirror/x/app"


def test_docker_hub_keeps_official_images_below_library() -> None:
    assert hub_name("docker.io", "nginx") == "library/nginx"
    assert hub_name("docker.io", "team/app") == "team/app"
    assert hub_name("quay.io", "nginx") == "nginx"
