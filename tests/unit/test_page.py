"""Both readers of a listing's page agree, and doubt always ends with the slow one."""

from __future__ import annotations

from urllib.parse import quote_plus
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dth.model import Entry
from dth.stores.page import _read_fast, _read_strictly, read_page
from dth.stores.xml import XmlInvalid

NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
LAYOUTS = {
    "aws": "Key LastModified ETag Size StorageClass",
    "aws with checksums": "Key LastModified ETag ChecksumAlgorithm ChecksumType Size StorageClass",
    "ceph": "Key LastModified ETag Size StorageClass Owner Type",
    "seaweed": "Key ETag Size Owner StorageClass LastModified",
    "bare": "Key LastModified Size",
}


def contents(entry: Entry, layout: str, *, encoded: bool = False, quote: str = "&quot;", space: str = "") -> str:
    texts = {
        "Key": escape(quote_plus(entry.key, safe="/") if encoded else entry.key, {"\r": "&#13;"}),
        "LastModified": entry.last_modified,
        "ETag": quote + entry.etag + quote,
        "Size": str(entry.size),
        "StorageClass": entry.storage_class,
        "ChecksumAlgorithm": "CRC64NVME",
        "ChecksumType": "FULL_OBJECT",
        "Owner": "<ID>i</ID><DisplayName>n</DisplayName>",
        "Type": "Normal",
    }
    return (
        f"<Contents>{space}" + "".join(f"<{n}>{texts[n]}</{n}>{space}" for n in layout.split()) + "</Contents>" + space
    )


def page(items: str, *, head: str = "", tail: str = "", encoded: bool = False) -> bytes:
    encoding = "<EncodingType>url</EncodingType>" if encoded else ""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult {NAMESPACE}><Name>b</Name>{head}{items}{encoding}'
        f"<IsTruncated>false</IsTruncated>{tail}</ListBucketResult>"
    ).encode()


def entry(key: str = "k", size: int = 1) -> Entry:
    return Entry(key, size, "0123456789abcdef0123456789abcdef", "2024-05-01T12:00:00.000Z", "STANDARD")


xml_text = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="￾￿")
    | st.sampled_from("\n\t\r&<>'\"+% ;#"),
    min_size=1,
    max_size=30,
)
entries = st.lists(
    st.builds(
        Entry,
        key=xml_text,
        size=st.integers(0, 5 * 2**40),
        etag=st.sampled_from(["d41d8cd98f00b204e9800998ecf8427e", "d41d8cd98f00b204e9800998ecf8427e-12", ""]),
        last_modified=st.just("2024-05-01T12:00:00.000Z"),
        storage_class=st.sampled_from(["STANDARD", "GLACIER"]),
    ),
    max_size=8,
)


@settings(max_examples=200)
@given(
    items=entries,
    layouts=st.lists(st.sampled_from(list(LAYOUTS.values())), min_size=1, max_size=3),
    encoded=st.booleans(),
    quote=st.sampled_from(["&quot;", '"', "&#34;", ""]),
    space=st.sampled_from(["", "\n  "]),
)
def test_the_fast_reader_says_what_expat_says(
    *, items: list[Entry], layouts: list[str], encoded: bool, quote: str, space: str
) -> None:
    text = "".join(
        contents(item, layouts[index % len(layouts)], encoded=encoded, quote=quote, space=space)
        for index, item in enumerate(items)
    )
    data = page(text, encoded=encoded)
    strictly = _read_strictly(data)
    assert [found.key for found in strictly.entries] == [item.key for item in items]
    assert read_page(data) == strictly
    try:
        fast = _read_fast(data)
    except ValueError:
        fast = None
    assert fast in (None, strictly)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_every_known_layout_takes_the_fast_way(layout: str) -> None:
    data = page("".join(contents(entry(f"a&b/{number}", number), layout) for number in range(50)))
    fast = _read_fast(data)
    assert fast is not None
    assert fast == _read_strictly(data)
    assert fast.entries[7].key == "a&b/7"


def test_a_page_that_mixes_the_two_layouts_of_aws_takes_the_fast_way() -> None:
    data = page("".join(contents(entry(f"{n}"), LAYOUTS["aws with checksums" if n % 3 else "aws"]) for n in range(20)))
    assert _read_fast(data) == _read_strictly(data)


plain = contents(entry("plain"), LAYOUTS["aws"])
ODD_PAGES = {
    "an unknown element in one object": page(plain + contents(entry("x"), LAYOUTS["aws"]).replace("<Size>", "<New>1</New><Size>")),
    "another order": page(contents(entry("x"), "Size Key ETag LastModified") + plain),
    "a comment between objects": page(plain + "<!-- <Contents> -->" + plain),
    "an object in a comment": page(plain + "<!--" + contents(entry("ghost"), LAYOUTS["aws"]) + "-->"),
    "all objects in one comment": page("<!--" + plain + "-->"),
    "a comment in a key": page(plain.replace("plain", "pl<!-- x -->ain")),
    "a key in CDATA": page(plain.replace("plain", "<![CDATA[a<b>&c]]>")),
    "objects in a processing instruction": page("<?pi " + plain + "?>"),
    "objects inside another element": page(f"<Deleted>{plain}</Deleted>"),
    "an attribute": page(plain.replace("<Contents>", '<Contents a="1">')),
    "prefixed names": page(plain).replace(b"<Contents>", b"<s:Contents>").replace(b"</Contents>", b"</s:Contents>").replace(
        b"<Name>", b'<Name xmlns:s="s">'
    ),
    "a key that holds a closing tag's text": page(plain.replace("plain", "a/Contents&gt;") + plain.replace("plain", "Contents>")),
    "carriage returns between elements": page(plain.replace("</Key>", "</Key>\r\n")),
    "objects in CDATA": page("<Note><![CDATA[" + plain + "]]></Note>"),
    "a weak ETag": page(plain.replace("<ETag>&quot;", "<ETag>W/&quot;")),
    "restore status": page(plain.replace("</Contents>", "<RestoreStatus><IsRestoreInProgress>true</IsRestoreInProgress></RestoreStatus></Contents>")),
    "nothing at all": page(""),
    "folded prefixes": page(plain, tail="<CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes>"),
    "latin-1": page(plain.replace("plain", "é")).decode().replace("UTF-8", "ISO-8859-1").encode("latin-1"),
    "utf-16": page(plain.replace("plain", "é")).decode().replace("UTF-8", "UTF-16").encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + page(plain),
}  # fmt: skip


@pytest.mark.parametrize("data", ODD_PAGES.values(), ids=ODD_PAGES)
def test_odd_pages_are_slow_and_never_wrong(data: bytes) -> None:
    assert read_page(data) == _read_strictly(data)


@pytest.mark.parametrize(
    "broken",
    [
        page("<Contents><Key>a</Key></Contents>"),
        page(plain.replace("<Size>1", "<Size>-1")),
        page(plain.replace("<Key>plain", "<Key>")),
        page(plain.replace("plain", "a & b")),
        page(plain.replace("plain", "&unknown;")),
        page(plain.replace("plain", "&#xD800;")),
        page(plain.replace("plain", "&#x110000;")),
        page(plain)[:-20],
        page(plain, tail="<Open>"),
        b"<Error><Code>InternalError</Code></Error>",
        b"",
        b"   ",
        b'<!DOCTYPE x [<!ENTITY a "b">]><ListBucketResult/>',
    ],
)
def test_what_is_no_page_is_refused(broken: bytes) -> None:
    with pytest.raises(XmlInvalid):
        read_page(broken)


@pytest.mark.parametrize("layout", [LAYOUTS["aws"], "Key LastModified Size ETag"])
def test_a_bare_carriage_return_in_a_key_is_part_of_the_key(layout: str) -> None:
    assert read_page(page(contents(entry("x"), layout).replace("x<", "pl\rain<"))).entries[0].key == "pl\rain"


def test_control_characters_that_ceph_writes_as_references_are_read() -> None:
    assert read_page(page(plain.replace("plain", "a&#x01;b"))).entries[0].key == "a\x01b"


def test_keys_are_decoded_only_where_the_store_says_that_it_encoded_them() -> None:
    items = contents(entry("a+b%2Bc%20d"), LAYOUTS["aws"])
    assert read_page(page(items)).entries[0].key == "a+b%2Bc%20d"
    assert read_page(page(items, encoded=True)).entries[0].key == "a b+c d"


def test_the_way_on_is_read_from_either_version() -> None:
    data = page(plain, tail="<NextContinuationToken>t+/=</NextContinuationToken><NextMarker>m</NextMarker>")
    found = read_page(data.replace(b">false<", b">true<"))
    assert (found.truncated, found.token, found.marker) == (True, "t+/=", "m")


@pytest.mark.parametrize("written", ["k\x01", "k&#x1;", "k&#1;"])
def test_a_marker_that_repeats_a_key_with_a_control_character_does_not_end_the_listing(written: str) -> None:
    page = read_page(
        (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><Name>b</Name><Prefix></Prefix>'
            f"<Marker></Marker><NextMarker>{written}</NextMarker><IsTruncated>true</IsTruncated>"
            f"<Contents><Key>{written}</Key><LastModified>2024-05-01T12:00:00.000Z</LastModified><Size>0</Size></Contents>"
            "</ListBucketResult>"
        ).encode()
    )
    assert [entry.key for entry in page.entries] == ["k\x01"]
    assert page.truncated
