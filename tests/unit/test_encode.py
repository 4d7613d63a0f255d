"""Keys survive the way into a URL and back out of a listing."""

from __future__ import annotations

from urllib.parse import quote, quote_plus, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dth.errors import KeyRefused
from dth.stores.encode import decode_listed, encode_key, encode_query, encode_value

raw_keys = st.binary(max_size=60).map(lambda raw: raw.decode("utf-8", "surrogateescape"))


@given(raw_keys)
def test_any_bytes_encode_to_unreserved_ascii_and_back(key: str) -> None:
    encoded = encode_key(key)
    assert encoded == quote(key, safe="/~", errors="surrogateescape")
    assert unquote_to_bytes(encoded) == key.encode("utf-8", "surrogateescape")
    assert encode_value(key) == quote(key, safe="~", errors="surrogateescape")


@given(raw_keys)
def test_listed_keys_are_decoded_once_from_either_way_of_writing_a_space(key: str) -> None:
    assert decode_listed(quote_plus(key, safe="/*", errors="surrogateescape")) == key
    assert decode_listed(quote(key, safe="", errors="surrogateescape")) == key


def test_dots_and_empty_segments_stay_as_they_are() -> None:
    assert encode_key("../a//./b/") == "../a//./b/"


def test_half_a_surrogate_pair_is_refused_by_name() -> None:
    with pytest.raises(KeyRefused, match="surrogate"):
        encode_key("a\ud800b")


def test_a_query_is_sorted_by_its_encoded_bytes_and_empty_values_keep_their_equals_sign() -> None:
    assert encode_query([("prefix", "a b/+"), ("uploads", ""), ("max", "2"), ("max-keys", "2"), ("é", "1")]) == (
        "%C3%A9=1&max=2&max-keys=2&prefix=a%20b%2F%2B&uploads="
    )
