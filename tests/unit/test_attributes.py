"""Metadata that a source has and does not send is no metadata that an object lacks."""

from __future__ import annotations

import pytest

from dth.errors import RequestRefused
from dth.model import Attributes
from dth.stores.attributes import object_head, write_headers
from dth.stores.base import PutOptions


@pytest.mark.parametrize("said", ["1", "17", "", "many"])
def test_an_object_whose_source_withholds_metadata_is_not_written_without_it(said: str) -> None:
    headers = {"etag": '"e"', "x-amz-meta-a": "1", "x-amz-missing-meta": said}
    found = object_head(headers, 1, md5_etag=True, whole=True)
    with pytest.raises(RequestRefused, match="--no-include-metadata"):
        write_headers(PutOptions(attributes=found.attributes))
    assert write_headers(PutOptions(attributes=Attributes())) == []


@pytest.mark.parametrize("headers", [{}, {"x-amz-missing-meta": "0"}])
def test_an_object_whose_source_sends_all_metadata_is_written_with_it(headers: dict[str, str]) -> None:
    found = object_head({"etag": '"e"', "x-amz-meta-a": "1", **headers}, 1, md5_etag=True, whole=True)
    assert write_headers(PutOptions(attributes=found.attributes)) == [("x-amz-meta-a", "1")]
