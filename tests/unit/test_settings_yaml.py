"""Job files in YAML, and the original's `config.yaml`: read as meant, and what means nothing here is said."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dth.errors import SettingsError
from dth.settings import TransferJob, load_settings
from dth.settings.jobfile import DEPLOYMENT_ONLY, MEANINGLESS

ORIGINAL = """\
# the original's own example, all of its keys
srcType: Amazon_S3
srcBucket: photos
srcPrefix: ""
srcPrefixList:
srcPrefixListBucket: ~
srcRegion: us-west-2
srcEndpoint: ''
srcCredential: there
srcInCurrentAccount: false
skipCompare: no
payerRequest: True
destBucket: backup
destPrefix: 2026-01
destRegion: cn-north-1
destCredential:
destInCurrentAccount: true
destStorageClass: STANDARD
destAcl: bucket-owner-full-control
destSSEType: AWS_KMS
destSSEKMSKeyId: 0123
jobTableName: table-name
jobQueueName: queue-name
singlePartTableName: parts
sfnArn: arn:aws:states:us-west-2:123456789012:stateMachine:x
options:
  chunkSize: 5
  multipartThreshold: 10
  giantFileThreshold: 1024
  maxKeys: 1000
  messageBatchSize: 10
  finderDepth: 2
  finderNumber: 3
  workerNumber: 4
  includeMetadata: false
"""


def load(folder: Path, text: str, name: str = "config.yaml") -> tuple[TransferJob, list[str]]:
    file, notes = folder / name, list[str]()
    file.write_text(text)
    return load_settings({}, {}, file, notes=notes), notes


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(folder, text)
    return str(caught.value)


def test_the_original_s_configuration_is_read_whole(tmp_path: Path) -> None:
    job, notes = load(tmp_path, ORIGINAL)
    got = job.model_dump(mode="json", exclude_unset=True, exclude={"state"})
    assert got == {
        "src_type": "Amazon_S3", "src_bucket": "photos", "src_prefix": "", "src_region": "us-west-2", "src_endpoint": "",
        "src_credentials": "there", "skip_compare": False, "src_request_payer": True,
        "dest_bucket": "backup", "dest_prefix": "2026-01", "dest_region": "cn-north-1", "dest_storage_class": "STANDARD",
        "dest_acl": "bucket-owner-full-control", "dest_sse": "AWS_KMS", "dest_sse_kms_key_id": "0123",
        "part_size": 5 << 20, "multipart_threshold": 10 << 20, "giant_threshold": 1 << 30,
        "finder_depth": 2, "finder_number": 3, "worker_number": 4, "include_metadata": False,
    }  # fmt: skip
    meaningless = {"jobTableName", "jobQueueName", "singlePartTableName", "sfnArn", "maxKeys", "messageBatchSize"}
    assert {note.split()[0] for note in notes} == meaningless
    assert all("config.yaml means nothing here: " in note for note in notes)


def test_what_shapes_a_deployment_is_said_and_what_is_left_empty_is_not(tmp_path: Path) -> None:
    text = "src_bucket: photos\ndest_bucket: backup\nalarmEmail: me@example.org\nmaxKeys: ''\nsfnArn:\n"
    _, notes = load(tmp_path, text)
    assert [note.split()[0] for note in notes] == ["alarmEmail"]
    assert MEANINGLESS.keys() > DEPLOYMENT_ONLY


def test_values_are_the_text_that_was_written(tmp_path: Path) -> None:
    text = "src_bucket: '1e3'\ndest_bucket: 0o17\nsrc_prefix: no\ndest_prefix: 2026-01-31\nbandwidth: 1_000\n"
    assert "bandwidth = '1_000'" in refusal(tmp_path, text)
    job, _ = load(tmp_path, text.replace("1_000", "10MB"))
    assert (job.src_bucket, job.dest_bucket, job.src_prefix, job.dest_prefix) == ("1e3", "0o17", "no", "2026-01-31")
    assert job.bandwidth == 10_000_000


def test_lists_and_anchors_are_read(tmp_path: Path) -> None:
    text = "src_bucket: &name photos\ndest_bucket: *name\ndest_prefix: copy\ninclude:\n  - '*.jpg'\n  - b, c\n  -\n"
    job, _ = load(
        tmp_path, text.replace("dest_prefix: copy", "src_region: us-west-2\ndest_region: cn-north-1"), "job.yml"
    )
    assert job.src_bucket == job.dest_bucket == "photos"
    assert job.include == ("*.jpg", "b, c")


@pytest.mark.parametrize(
    ("text", "must"),
    [
        ("src_bucket: a: b", "no YAML"),
        ("src_bucket: [", "no YAML"),
        ("src_bucket: \x01", "no YAML"),
        ("a: 1\n---\nb: 2", "no YAML"),
        ("- src_bucket", "one mapping"),
        ("just text", "one mapping"),
        ("src_bucket: one\nsrc_bucket: two", "sets src_bucket twice"),
        ("srcCredential: one\nsrc_credentials: two", "sets src_credentials twice"),
        ("finderDepth: 1\noptions:\n  finderDepth: 2", "sets finderDepth twice"),
        ("options:\n  more:\n    chunkSize: 5", "line 3"),
        ("copy:\n  tags: true", "plain values"),
        ("srcBuckets: photos", "did you mean srcBucket"),
        ("options:\n  chunkSizes: 5", "chunkSizes in"),
        ("options:\n  chunkSize: -5", "part_size = '-5'"),
        ("src_bucket: !!python/object/apply:os.system [true]", "src_bucket"),
        ("destInCurrentAccount: true\ndestCredential: secret", "keep one of them"),
    ],
)
def test_what_is_wrong_is_named(text: str, must: str, tmp_path: Path) -> None:
    said = refusal(tmp_path, text)
    assert must in said
    assert "config.yaml" in said


def test_the_original_s_names_work_in_every_format(tmp_path: Path) -> None:
    for name, text in {
        "job.toml": 'srcBucket = "photos"\ndestBucket = "backup"\nskipCompare = true\n[options]\nchunkSize = 8\n',
        "job.json": '{"srcBucket":"photos","destBucket":"backup","skipCompare":true,"options":{"chunkSize":8}}',
    }.items():
        job, notes = load(tmp_path, text, name)
        assert (job.skip_compare, job.part_size, notes) == (True, 8 << 20, [])


def test_the_parser_is_loaded_for_yaml_alone(tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text('src_bucket = "photos"\ndest_bucket = "backup"\n')
    program = (
        "import sys, pathlib; from dth.settings import load_settings; "
        f"load_settings({{}}, {{}}, pathlib.Path({str(tmp_path / 'job.toml')!r})); print('yaml' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
