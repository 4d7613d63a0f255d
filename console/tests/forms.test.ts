import { expect, test } from "vitest";
import type { Setting, SettingKind } from "../src/api/types";
import { byField, given, readSize, writtenSize, wrongEmail, wrongValue } from "../src/forms/check";
import { DEPLOYMENT, wrongDeployment } from "../src/forms/deployment";
import { readSchedule, writeSchedule, wrongSchedule } from "../src/forms/schedule";
import { ceiling, path } from "../src/ui/scale";

const setting = (name: string, kind: SettingKind = "TEXT", more: Partial<Setting> = {}): Setting => ({
  name,
  kind,
  title: name,
  help: "",
  guideName: null,
  choices: [],
  low: null,
  high: null,
  default: null,
  advanced: false,
  ...more,
});
const wrong = (one: Setting, values: Record<string, string>) => wrongValue(one, values)?.key ?? null;

test("sizes are read in both kinds of units and written in the largest that divides them", () => {
  expect(["64MiB", "1 GB", "1048576", "1.5k", "5 parsecs", "3ib", ""].map(readSize)).toEqual([
    67_108_864,
    1e9,
    1_048_576,
    1500,
    null,
    null,
    null,
  ]);
  expect(["16777216", "0", "1000"].map(writtenSize)).toEqual(["16MiB", "0", "1000"]);
});

test("buckets follow the rules of AWS there, and looser ones elsewhere", () => {
  const bucket = setting("src_bucket", "BUCKET");
  const at = (src_bucket: string, more = {}) => wrong(bucket, { src_bucket, ...more });
  expect(at("")).toBe("wrong.required");
  for (const bad of ["ab", "Upper", "-a-b", "a..b", "192.168.1.1", "a".repeat(64), "a.-b"]) {
    expect([bad, at(bad)]).toEqual([bad, "wrong.bucket"]);
  }
  for (const good of ["abc", "my.bucket-1", "a".repeat(63)]) expect([good, at(good)]).toEqual([good, null]);
  expect(at("Upper_Case", { src_endpoint: "https://store.example" })).toBe(null);
});

test("rules between settings: KMS key, GovCloud, events, accounts, endpoints, prefixes", () => {
  const kms = setting("dest_sse_kms_key_id");
  expect(wrong(kms, { dest_sse_kms_key_id: "k", dest_sse: "AES256" })).toBe("wrong.kms");
  expect(wrong(kms, { dest_sse_kms_key_id: "k", dest_sse: "AWS_KMS" })).toBe(null);
  const region = setting("dest_region", "REGION");
  expect(wrong(region, { src_region: "us-gov-west-1", dest_region: "eu-west-1" })).toBe("wrong.gov");
  expect(wrong(region, { src_region: "us-gov-west-1", dest_region: "us-east-1" })).toBe(null);
  const event = setting("src_event", "CHOICE", { choices: ["No", "Create"] });
  expect(wrong(event, { src_event: "Create", src_type: "Aliyun_OSS" })).toBe("wrong.event");
  expect(wrong(event, { src_event: "Other" })).toBe("wrong.choice");
  expect(wrong(setting("src_account_id"), { src_account_id: "12345" })).toBe("wrong.account");
  expect(wrong(setting("src_endpoint"), { src_endpoint: "ftp://x" })).toBe("wrong.url");
  expect(wrong(setting("src_endpoint"), { src_endpoint: "store.example:9000" })).toBe(null);
  expect(wrong(setting("src_prefix"), { src_prefix: "长".repeat(400) })).toBe("wrong.long");
  expect(wrong(setting("src_image_list"), { source_type: "Public" })).toBe("wrong.required");
});

test("numbers keep to the catalogue's bounds", () => {
  const days = setting("restore_days", "INTEGER", { low: 1, high: 3650 });
  expect(["0", "1", "3651", "1.5", "x"].map((restore_days) => wrong(days, { restore_days }))).toEqual([
    "wrong.bounds",
    null,
    "wrong.bounds",
    "wrong.number",
    "wrong.number",
  ]);
  const part = setting("part_size", "SIZE", { low: 0, high: 5 * 1024 ** 3 });
  expect(["6GiB", "5GiB", "big"].map((part_size) => wrong(part, { part_size }))).toEqual([
    "wrong.bounds",
    null,
    "wrong.size",
  ]);
  expect(["", "a@b.example", "a@b", "a b@c.d"].map((one) => wrongEmail(one)?.key ?? null)).toEqual([
    null,
    null,
    "wrong.email",
    "wrong.email",
  ]);
});

test("only what differs from a default is sent, sizes as bytes", () => {
  const all = [
    setting("src_bucket", "BUCKET"),
    setting("verify", "CHOICE", { default: "transfer" }),
    setting("bandwidth", "SIZE", { default: "0" }),
    setting("tags", "FLAG", { default: "false" }),
  ];
  expect(given(all, { src_bucket: " b ", verify: "transfer", bandwidth: "1MiB", tags: "true", other: "x" })).toEqual([
    { name: "src_bucket", value: "b" },
    { name: "bandwidth", value: "1048576" },
    { name: "tags", value: "true" },
  ]);
});

test("the hub's refusals stand at the fields that they name", () => {
  const names = new Set(["src_bucket", "part_size"]);
  expect(byField("src_bucket is required: --src-bucket\\npart_size = 'x' is no size\nsomething else", names)).toEqual({
    src_bucket: "src_bucket is required: --src-bucket",
    part_size: "part_size = 'x' is no size",
    "": "something else",
  });
});

test("schedules are read back as they were written", () => {
  const texts = ["", "every 30 minutes", "once 2026-12-01T03:00 Europe/Berlin", "0 3 * * 1-5 Europe/Berlin"];
  for (const text of texts) expect(writeSchedule(readSchedule(text))).toBe(text);
  expect(writeSchedule(readSchedule("0 3 * * *"))).toBe("0 3 * * * UTC");
  for (const [theirs, ours] of [
    ["cron(0 */1 ? * * *)", "0 */1 ? * * * UTC"],
    ["rate(2 hours)", "every 2 hours"],
    ["at(2030-12-01T03:00:00)", "once 2030-12-01T03:00 UTC"],
  ] as const) {
    expect(writeSchedule(readSchedule(theirs))).toBe(ours);
    expect(wrongSchedule(readSchedule(theirs))).toBeNull();
  }
  expect(wrongSchedule({ kind: "every", count: "1", unit: "minutes" })?.key).toBe("wrong.interval");
  expect(wrongSchedule({ kind: "every", count: "x", unit: "hours" })?.key).toBe("wrong.number");
  expect(wrongSchedule({ kind: "cron", fields: "0 3 *", zone: "UTC" })?.key).toBe("wrong.cron");
  expect(wrongSchedule({ kind: "once", at: "", zone: "UTC" })?.key).toBe("wrong.time");
});

test("charts end at round numbers and break where nothing was measured", () => {
  expect([0, 0.3, 7, 23, 99].map((one) => ceiling(one))).toEqual([1, 0.4, 8, 40, 100]);
  expect([3, 7].map((one) => ceiling(one, "whole"))).toEqual([4, 8]);
  expect(ceiling(1_400_000, "bytes")).toBe(2 * 1024 ** 2);
  expect(
    path(
      [1, null, 2, 3],
      (x) => x,
      (y) => y,
    ),
  ).toBe("M0.0 1.0M2.0 2.0L3.0 3.0");
});

test("what shapes a deployment is checked: capacities in order, ids as AWS writes them", () => {
  const wrong = (values: Record<string, string>) =>
    DEPLOYMENT.S3EC2.filter((name) => wrongDeployment(name, values)).join(" ");
  expect(wrong({})).toBe("");
  expect(wrong({ minCapacity: "1", desiredCapacity: "2", maxCapacity: "20" })).toBe("");
  expect(wrong({ minCapacity: "3", desiredCapacity: "2" })).toBe("desiredCapacity");
  expect(wrong({ maxCapacity: "many" })).toBe("maxCapacity");
  expect(wrong({ ec2VpcId: "vpc-0123456789abcdef0", ec2Subnets: "subnet-01234567, subnet-89abcdef" })).toBe("");
  expect(wrong({ ec2VpcId: "subnet-01234567", ec2Subnets: "subnet-01234567;x" })).toBe("ec2VpcId ec2Subnets");
});
