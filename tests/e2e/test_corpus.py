"""The corpus that other tests believe in survives a real store, and is the same each time."""

import pytest

from tests.e2e.corpus import corpus, expected, fill, inventory, longest_keys, open_uploads, sizes
from tests.servers.s3server import S3Server


def test_a_corpus_is_the_same_each_time_and_names_no_key_twice() -> None:
    first, second = list(corpus(300)), list(corpus(300))
    assert first == second
    assert len({made.key for made in first}) == len(first) == 300
    assert [len(key.encode()) for key in longest_keys(1024)] == [1024, 1024]
    assert first[-1].body() == second[-1].body()


@pytest.mark.slow
def test_a_store_gives_back_the_corpus_exactly(rgw: S3Server) -> None:
    bucket, objects = rgw.make_bucket(), list(corpus(200, longest=1022))
    assert fill(rgw.client(), bucket, objects, prefix="p/") == 200
    assert inventory(rgw.client(), bucket, "p/") == expected(objects, prefix="p/")
    assert sizes(rgw.client(), bucket) == {"p/" + made.key: made.size for made in objects}
    assert open_uploads(rgw.client(), bucket) == []
