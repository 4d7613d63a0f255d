"""Settings: four spellings, one precedence, and nothing ignored."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dth.errors import SettingsError
from dth.settings import NOT_YET, TransferJob, load_settings, settings_of

BASE = {"src_bucket": "photos", "dest_bucket": "backup"}
KNOWN = settings_of(TransferJob)
WORKING = [name for name in KNOWN if name not in NOT_YET]

EXAMPLES: dict[str, tuple[str, Any]] = {
    # a value as text, and what it becomes
    "job_id": ("nightly", "nightly"),
    "state": ("/var/lib/dth", Path("/var/lib/dth")),
    "report": ("/tmp/r.jsonl", "/tmp/r.jsonl"),
    "ca_bundle": ("/etc/ca.pem", "/etc/ca.pem"),
    "src_bucket": ("other-photos", "other-photos"),
    "src_prefix": ("2026/ü", "2026/ü"),
    "src_endpoint": ("minio.example:9000", "https://minio.example:9000"),
    "src_region": ("eu-west-1", "eu-west-1"),
    "src_credentials": ("prod/keys", "prod/keys"),
    "src_profile": ("prod", "prod"),
    "dest_bucket": ("other-backup", "other-backup"),
    "dest_prefix": ("copies", "copies"),
    "dest_endpoint": ("http://127.0.0.1:8333/", "http://127.0.0.1:8333"),
    "dest_region": ("cn-north-1", "cn-north-1"),
    "dest_credentials": ("anonymous", "anonymous"),
    "dest_profile": ("cn", "cn"),
    "dest_storage_class": ("STANDARD_IA", "STANDARD_IA"),
    "src_proxy": ("proxy.example:3128", "http://proxy.example:3128"),
    "dest_proxy": ("http://me:p%40ss@[::1]:8080/", "http://me:p%40ss@[::1]:8080"),
    "src_type": ("Aliyun_OSS", "Aliyun_OSS"),
    "dest_type": ("Tencent_COS", "Tencent_COS"),
    "dest_sse_kms_key_id": ("key-1", "key-1"),
    "from_file": ("keys.csv", "keys.csv"),
    "queue": ("https://sqs.example/1/q", "https://sqs.example/1/q"),
    "event_queue": ("https://sqs.example/1/e", "https://sqs.example/1/e"),
    "allow": ("store.example,*.other.example/b", ("store.example", "*.other.example/b")),
    "table": ("transfers", "transfers"),
    "metrics": ("127.0.0.1:9464", "127.0.0.1:9464"),
    "metrics_emf": ("-", "-"),
    "src_prefix_list": ("lists/prefixes", "lists/prefixes"),
    "src_prefix_list_bucket": ("lists", "lists"),
    "max_delete": ("10%", "10%"),
    "delete_to": ("trash", "trash"),
    "include": ("*.jpg, a/*", ("*.jpg", "a/*")),
    "exclude": ("*.tmp", ("*.tmp",)),
    "storage_classes": ("STANDARD,GLACIER_IR", ("STANDARD", "GLACIER_IR")),
    "modified_after": ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
    "modified_before": ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
}
NEEDED = {
    "queue": {"table": "transfers"},
    "table": {"queue": "https://sqs.example/1/q"},
    "src_type": {"src_region": "oss-cn"},
    "dest_type": {"dest_region": "ap-1"},
    "dest_sse_kms_key_id": {"dest_sse": "AWS_KMS"},
    "lease_cap_seconds": {"lease_seconds": "1"},
    "src_prefix_list_bucket": {"src_prefix_list": "prefixes"},
    "max_delete": {"delete": "true"},
    "delete_to": {"delete": "true", "dest_prefix": "copies"},
    "delete_from_empty": {"delete": "true"},
    "restore_days": {"restore": "true"},
    "restore_tier": {"restore": "true"},
}


def example(name: str) -> tuple[str, Any]:
    setting = KNOWN[name]
    if name in EXAMPLES:
        return EXAMPLES[name]
    match setting.kind:
        case "flag":
            return ("false", False) if setting.default else ("true", True)
        case "choice":
            chosen = next(c for c in setting.choices if c not in {"", setting.default})
            return chosen, chosen
        case "size":
            return "7MiB" if name != "message_bytes" else "16KiB", 7 * 2**20 if name != "message_bytes" else 16384
        case "integer":
            return "7", 7
        case "number":
            return "7.5", 7.5
    raise AssertionError(name)


def load(
    flags: dict[str, Any] | None = None, env: dict[str, str] | None = None, file: Path | None = None
) -> TransferJob:
    return load_settings({**BASE, **(flags or {})}, env or {}, file)


def refusal(flags: dict[str, Any] | None = None, env: dict[str, str] | None = None, file: Path | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        load(flags, env, file)
    return str(caught.value)


def write(path: Path, fields: object) -> Path:
    path.write_text(json.dumps(fields))
    return path


@pytest.mark.parametrize("name", WORKING)
def test_a_setting_means_the_same_as_flag_variable_and_line_of_a_file(name: str, tmp_path: Path) -> None:
    text, value = example(name)
    assert value != KNOWN[name].default
    needed = {**{k: v for k, v in BASE.items() if k != name}, **NEEDED.get(name, {})}
    toml = tmp_path / "job.toml"
    toml.write_text(f'{name} = "{text}"\n', "utf-8")
    plain = write(tmp_path / "job.json", {name: text})
    got = [
        load_settings({**needed, name: text}, {}, None),
        load_settings(needed, {KNOWN[name].env: text}, None),
        load_settings(needed, {}, toml),
        load_settings(needed, {}, plain),
    ]
    assert [getattr(job, name) for job in got] == [value] * 4


@pytest.mark.parametrize("name", [name for name in WORKING if KNOWN[name].guide])
def test_a_job_file_may_use_the_guides_name(name: str, tmp_path: Path) -> None:
    text, value = example(name)
    file = write(tmp_path / "job.json", {KNOWN[name].guide: text})
    needed = {**{k: v for k, v in BASE.items() if k != name}, **NEEDED.get(name, {})}
    assert getattr(load_settings(needed, {}, file), name) == value


def test_the_guides_parameters_are_all_known() -> None:
    guide = """srcType srcBucket srcPrefix srcPrefixsListFile srcPrefixListBucket srcRegion srcEndpoint srcCredentials
        srcSkipCompare srcEvent isPayerRequest destBucket destPrefix destRegion destCredentials destStorageClass destAcl
        destPutObjectSSEType destPutObjectSSEKmsKeyId includeMetadata finderDepth finderNumber workerNumber"""
    assert {setting.guide for setting in KNOWN.values() if setting.guide} == set(guide.split())


def test_flags_beat_environment_beats_file_beats_default(tmp_path: Path) -> None:
    file = write(tmp_path / "job.json", {"workerNumber": 3, "finder_number": 3, "processes": 3})
    env = {"DTH_WORKER_NUMBER": "2", "DTH_FINDER_NUMBER": "2"}
    job = load({"worker_number": "1"}, env, file)
    assert (job.worker_number, job.finder_number, job.processes, job.max_attempts) == (1, 2, 3, 5)


def test_the_environment_may_name_the_job_file(tmp_path: Path) -> None:
    file = write(tmp_path / "job.json", {"processes": 3})
    assert load(env={"DTH_JOB": str(file)}).processes == 3


@pytest.mark.parametrize("name", [n for n, s in KNOWN.items() if s.low is not None or s.high is not None])
def test_a_number_out_of_range_is_refused_with_its_range(name: str) -> None:
    setting = KNOWN[name]
    for bound, step in ((setting.low, -1), (setting.high, 1)):
        if bound is not None:
            value = f"{bound + step:.0f}" if setting.kind != "number" else str(bound + step)
            said = refusal({name: value})
            assert f"{name} = '{value}' (from {setting.flag}) is not allowed: {setting.allowed}" in said


@pytest.mark.parametrize(
    ("name", "value", "must"),
    [
        ("src_type", "Amazon", "one of '', Amazon_S3, Aliyun_OSS"),
        ("verify", "md5", "one of off, transfer, full"),
        ("memory_budget", "lots", "a size such as 64MiB"),
        ("processes", "two", "a whole number from 0 to 256"),
        ("grace_seconds", "nan", "a number from 0 to 3600"),
        ("skip_compare", "perhaps", "true or false"),
        ("src_bucket", "a b", "3 to 255 letters"),
        ("job_id", "../x", "1 to 64 letters"),
        ("dest_storage_class", "standard", "capital letters"),
        ("src_endpoint", "ftp://x", "begins with http:// or https://"),
        ("src_endpoint", "https://x/path", "a host, with a port"),
        ("modified_after", "yesterday", "a time such as"),
    ],
)  # fmt: skip
def test_a_value_that_is_not_allowed_is_refused_with_what_is(name: str, value: str, must: str) -> None:
    said = refusal({name: value})
    by_variable = refusal({name: None}, {KNOWN[name].env: value})
    assert said.startswith(f"{name} = {value!r} (from {KNOWN[name].flag}) is not allowed: ")
    assert by_variable == said.replace(KNOWN[name].flag, KNOWN[name].env)
    assert must in said


def test_all_problems_are_said_at_once() -> None:
    assert len(refusal({"processes": "x", "verify": "x", "compare": "x"}).splitlines()) == 3


def test_an_unknown_name_is_refused_with_the_closest_one(tmp_path: Path) -> None:
    assert "did you mean DTH_SRC_BUCKET?" in refusal(env={"DTH_SRC_BUKET": "x"})
    assert "did you mean src_prefix?" in refusal(file=write(tmp_path / "a.json", {"src_prefx": "x"}))
    assert "did you mean srcPrefix?" in refusal(file=write(tmp_path / "b.json", {"srcPrefx": "x"}))


@pytest.mark.parametrize(
    "text",
    [
        '{"src_prefix": "a", "srcPrefix": "b"}',
        '{"srcPrefix": "b", "src_prefix": "b"}',
        '{"src_prefix": "a", "src_prefix": "a"}',
        '[{"ParameterKey": "srcPrefix", "ParameterValue": "a"}, {"ParameterKey": "srcPrefix", "ParameterValue": "b"}]',
    ],
)
def test_one_setting_twice_in_a_file_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "job.json"
    file.write_text(text)
    said = refusal(file=file)
    assert "twice" in said
    assert str(file) in said


@pytest.mark.parametrize(
    ("name", "text", "must"),
    [
        ("job.ini", "a: b", "must end in .toml, .json, .yaml or .yml"),
        ("job.json", "{", "is no JSON"),
        ("job.json", "[1]", "one JSON object"),
        ("job.toml", "a =", "is no TOML"),
        ("job.json", '{"src_prefix": {"a": 1}}', "plain values"),
        ("job.json", '{"src_prefix": null}', "plain values"),
        ("job.json", '{"worker_number": true}', "a whole number"),
        ("job.json", '{"src_prefix": 5}', "text"),
    ],
)
def test_a_broken_job_file_is_named_with_what_is_wrong(name: str, text: str, must: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text(text)
    said = refusal(file=file)
    assert must in said
    assert str(file) in said


def test_a_job_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "cannot read the job file" in refusal(file=tmp_path / "none.json")


def test_a_parameter_file_of_the_original_can_be_read(tmp_path: Path) -> None:
    original = {
        "srcType": "Amazon_S3", "srcBucket": "dth-us-west-2", "srcPrefix": "case1", "srcRegion": "us-west-2",
        "srcInCurrentAccount": "true", "srcCredentials": "", "destBucket": "dth-cn-north-1", "destPrefix": "test-prefix",
        "destRegion": "cn-north-1", "destInCurrentAccount": "false", "destCredentials": "drh-cn-secret-key",
        "destStorageClass": "STANDARD", "destPutObjectSSEType": "None", "destPutObjectSSEKmsKeyId": "",
        "includeMetadata": "false", "srcEvent": "No", "alarmEmail": "me@example.org", "ec2VpcId": "vpc-1",
        "ec2Subnets": "a,b", "finderEc2Memory": "8", "ec2CronExpression": "0/60 * * * ? *", "maxCapacity": "20",
        "minCapacity": "1", "desiredCapacity": "1", "finderDepth": "0", "finderNumber": "1", "workerNumber": "4",
        "srcSkipCompare": "false", "isPayerRequest": "false", "srcEndpoint": "", "destAcl": "bucket-owner-full-control",
    }  # fmt: skip
    pairs = [{"ParameterKey": name, "ParameterValue": value} for name, value in original.items()]
    for fields in (original, pairs):
        job = load_settings({}, {}, write(tmp_path / "job.json", fields))
        assert (job.src_bucket, job.dest_prefix, job.worker_number) == ("dth-us-west-2", "test-prefix", 4)
        assert (job.src_credentials, job.dest_credentials) == ("", "drh-cn-secret-key")
        assert job.include_metadata is False


@pytest.mark.parametrize(
    ("fields", "credentials"),
    [
        ({"srcInCurrentAccount": "true"}, ""),
        ({"srcInCurrentAccount": True, "srcCredentials": ""}, ""),
        ({"srcInCurrentAccount": "false"}, "anonymous"),
        ({"srcInCurrentAccount": False, "srcCredentials": ""}, "anonymous"),
        ({"srcInCurrentAccount": "false", "srcCredentials": "secret"}, "secret"),
        ({"srcInCurrentAccount": "", "srcCredentials": "secret"}, "secret"),
        ({"srcInCurrentAccount": "false", "src_credentials": "secret"}, "secret"),
    ],
)
def test_the_guides_current_account_becomes_credentials(
    fields: dict[str, Any], credentials: str, tmp_path: Path
) -> None:
    assert load(file=write(tmp_path / "job.json", fields)).src_credentials == credentials


def test_the_current_account_with_a_secret_is_a_contradiction(tmp_path: Path) -> None:
    fields = {"destInCurrentAccount": "true", "destCredentials": "secret"}
    assert "keep one of them" in refusal(file=write(tmp_path / "job.json", fields))


@pytest.mark.parametrize(("rule", "value"), [("tags", "true"), ("compare=etag", "etag")])
def test_a_setting_whose_feature_is_missing_is_refused_not_ignored(
    monkeypatch: pytest.MonkeyPatch, rule: str, value: str
) -> None:
    monkeypatch.setattr("dth.settings.check.NOT_YET", {rule: "its feature"})
    name = rule.partition("=")[0]
    said = refusal({name: value})
    assert f"{rule} (from {KNOWN[name].flag}) is not available in this version" in said


def test_a_missing_setting_at_its_default_is_no_error() -> None:
    assert load({"tags": "false", "src_event": "No", "giant_threshold": "1GiB"}).tags is False


@pytest.mark.parametrize(
    ("flags", "must"),
    [
        ({"dest_sse_kms_key_id": "k"}, "a key id needs dest_sse = 'AWS_KMS'"),
        ({"dest_sse_kms_key_id": "k", "dest_sse": "AES256"}, "contradicts dest_sse = 'AES256' (from --dest-sse)"),
        ({"skip_compare": True, "compare": "size"}, "contradicts compare = 'size'"),
        ({"src_credentials": "a", "src_profile": "b"}, "set one of them"),
        ({"src_type": "MinIO"}, "needs src_endpoint"),
        ({"dest_type": "Aliyun_OSS"}, "needs dest_region or dest_endpoint"),
        ({"dest_bucket": "x--usw2-az1--x-s3"}, "directory bucket"),
        ({"lease_seconds": 10, "lease_cap_seconds": 5}, "is more than lease_cap_seconds = 5"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(flags: dict[str, Any], must: str) -> None:
    assert must in refusal(flags)


@pytest.mark.parametrize("secret", ['{"access_key_id": "x"}', "AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE:wJalr"])
def test_keys_in_place_of_a_secrets_name_are_refused_and_never_shown(secret: str) -> None:
    said = refusal({"src_credentials": secret})
    assert "never the keys" in said
    assert secret not in said


def test_a_password_in_an_endpoint_is_refused_and_never_shown() -> None:
    said = refusal({"src_endpoint": "https://user:hunter2@host"})
    assert "no user or password" in said
    assert "hunter2" not in said


def test_buckets_are_required_and_every_spelling_is_named() -> None:
    with pytest.raises(
        SettingsError, match="dest_bucket is required: --dest-bucket, DTH_DEST_BUCKET, or dest_bucket in"
    ):
        load_settings({"src_bucket": "photos"}, {}, None)


def test_a_job_id_stands_for_both_buckets_where_that_is_enough() -> None:
    assert load_settings({"job_id": "nightly"}, {}, None, locations_required=False).job_id == "nightly"
    with pytest.raises(SettingsError, match="src_bucket is required"):
        load_settings({}, {}, None, locations_required=False)


def test_state_lives_where_xdg_says() -> None:
    assert load(env={"XDG_STATE_HOME": "/x"}).state == Path("/x/dth")
    assert load(env={"XDG_STATE_HOME": "relative"}).state == Path.home() / ".local/state/dth"


def test_every_setting_has_a_title_and_one_sentence_of_help() -> None:
    for setting in KNOWN.values():
        assert setting.title
        assert setting.text.endswith(".")
        assert setting.scope in {"job", "process"}


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"min_size": "2MiB", "max_size": "1MiB"}, "min_size"),
        ({"modified_after": "2026-01-01T00:00:00", "modified_before": "2026-01-01T00:00:00Z"}, "modified_after"),
    ],
)
def test_rules_that_no_object_can_meet_are_refused(rules: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=f"{said}.*no object is both"):
        load(rules)


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"max_delete": "5"}, "max_delete .*delete is not set"),
        ({"restore_days": "3"}, "restore_days .*says how to restore, but restore is not set"),
        ({"delete": "true", "skip_compare": "true"}, "skip_compare .*contradicts delete"),
        ({"delete": "true", "delete_to": "copies/old", "dest_prefix": "copies"}, "overlaps the destination"),
        ({"delete": "true", "delete_to": "old"}, "overlaps the destination"),
        ({"delete": "true", "delete_to": "s3://b/old", "dest_prefix": "copies"}, "not a URL"),
        (
            {
                "delete": "true", "delete_to": "live/old", "dest_prefix": "copies", "src_prefix": "live/",
                "src_bucket": "one", "dest_bucket": "one",
            },
            "overlaps the source",
        ),
        ({"delete": "true", "max_delete": "-1"}, "a number of objects, or a share"),
        ({"delete": "true", "max_delete": "ten"}, "a number of objects, or a share"),
    ],
)  # fmt: skip
def test_deletes_that_could_not_be_safe_are_refused(rules: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load(rules)


def test_a_run_of_an_older_version_without_a_limit_is_still_read_and_a_plain_number_is_a_limit() -> None:
    assert TransferJob(max_delete=None).max_delete is None
    assert TransferJob(max_delete=5).max_delete == "5"  # type: ignore[arg-type]  # as TOML gives it


@pytest.mark.parametrize(
    "url",
    [
        "https://me:hush@proxy:1",
        "socks5://me:hush@proxy:1",
        "me:hush@proxy",
        "http://me:hu/sh@proxy:1",
        "http://me:hush@:1",
        "http://me:hush@proxy:99999",
        "http://me:hush@proxy:1/path",
        "me:hu@sh",
    ],
)
def test_a_proxy_that_makes_no_sense_is_refused_without_showing_its_password(url: str) -> None:
    said = refusal({"src_proxy": url})
    assert "src_proxy" in said
    assert "hu" not in said.replace("http", "")
