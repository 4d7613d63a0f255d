import type { Pair, Setting } from "../api/types";
import type { Key } from "../i18n";

/** What is wrong with a value, for `t`; null where nothing is. The hub has the last word: this only says so earlier. */
export type Wrong = { key: Key; values?: Record<string, string | number> } | null;
export type Values = Record<string, string>;

const POWERS: Record<string, number> = { "": 0, k: 1, m: 2, g: 3, t: 4 };

/** Bytes of a text such as 64MiB, 1 GB or 1048576; null for what is none. */
export function readSize(text: string): number | null {
  const found = /^(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?$/i.exec(text.trim());
  if (!found) return null;
  const unit = (found[2] ?? "").toLowerCase();
  if (found[3] && !unit) return null;
  return Math.round(Number(found[1]) * (found[3] ? 1024 : 1000) ** (POWERS[unit] ?? 0));
}

/** Bytes as the form shows them: in the largest unit that divides them. */
export function writtenSize(text: string): string {
  let value = Number(text);
  if (!Number.isInteger(value) || value < 1024) return text;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let place = 0;
  while (value % 1024 === 0 && place < units.length - 1) {
    value /= 1024;
    place += 1;
  }
  return `${value}${units[place]}`;
}

const BUCKET = /^[A-Za-z0-9][A-Za-z0-9.:_-]{2,254}$/;
const AWS_BUCKET = /^(?=.{3,63}$)(?!\d+\.\d+\.\d+\.\d+$)[a-z0-9](?:[a-z0-9-]|\.(?![.-])|(?<!\.)-)*[a-z0-9]$/;
const REQUIRED: Record<string, (values: Values) => boolean> = {
  src_bucket: () => true,
  dest_bucket: () => true,
  src_image_list: (values) => values["src_list"] === "SELECTED" || values["source_type"] === "Public",
};

/** Whether a side's store is AWS: no endpoint, and no other kind of store chosen. */
function isAws(side: string, values: Values): boolean {
  return !values[`${side}_endpoint`] && ["", "Amazon_S3"].includes(values[`${side}_type`] ?? "");
}

const RULES: Record<string, (value: string, values: Values) => Wrong> = {
  src_endpoint: (value) => wrongUrl(value),
  dest_endpoint: (value) => wrongUrl(value),
  src_prefix: (value) => tooLong(value),
  dest_prefix: (value) => tooLong(value),
  src_account_id: (value) => (/^\d{12}$/.test(value) ? null : { key: "wrong.account" }),
  dest_account_id: (value) => (/^\d{12}$/.test(value) ? null : { key: "wrong.account" }),
  dest_sse_kms_key_id: (_, values) => (values["dest_sse"] === "AWS_KMS" ? null : { key: "wrong.kms" }),
  src_image_list: (value) => (value.length > 65_536 ? { key: "wrong.long", values: { most: 65_536 } } : null),
  dest_region: (value, values) => {
    const from = values["src_region"] ?? "";
    return from.startsWith("us-gov-") && isAws("dest", values) && !value.startsWith("us-")
      ? { key: "wrong.gov" }
      : null;
  },
  src_event: (value, values) => (value !== "No" && !isAws("src", values) ? { key: "wrong.event" } : null),
};

function tooLong(value: string): Wrong {
  return new TextEncoder().encode(value).length > 1024 ? { key: "wrong.long", values: { most: 1024 } } : null;
}

function wrongUrl(value: string): Wrong {
  const text = /^[a-z]+:\/\//i.test(value) ? value : `https://${value}`;
  return /^https?:\/\/[^\s/]+\/?$/i.test(text) && URL.canParse(text) ? null : { key: "wrong.url" };
}

/** Checks one value against its kind, its bounds and the rules between settings. */
export function wrongValue(setting: Setting, values: Values): Wrong {
  const value = (values[setting.name] ?? "").trim();
  if (value === "") return REQUIRED[setting.name]?.(values) ? { key: "wrong.required" } : null;
  return wrongKind(setting, value, values) ?? RULES[setting.name]?.(value, values) ?? null;
}

function wrongKind(setting: Setting, value: string, values: Values): Wrong {
  switch (setting.kind) {
    case "SIZE":
    case "INTEGER":
    case "NUMBER":
      return wrongNumber(setting, value);
    case "BUCKET": {
      const side = setting.name.startsWith("dest") ? "dest" : "src";
      return (isAws(side, values) ? AWS_BUCKET : BUCKET).test(value) ? null : { key: "wrong.bucket" };
    }
    case "TIME":
      return Number.isNaN(Date.parse(value)) ? { key: "wrong.time" } : null;
    case "CHOICE":
      return setting.choices.includes(value) ? null : { key: "wrong.choice" };
    default:
      return null;
  }
}

function wrongNumber(setting: Setting, value: string): Wrong {
  const number = setting.kind === "SIZE" ? readSize(value) : Number(value);
  if (number == null) return { key: "wrong.size" };
  if (Number.isNaN(number) || (setting.kind === "INTEGER" && !Number.isInteger(number))) return { key: "wrong.number" };
  const [low, high] = [setting.low ?? Number.NEGATIVE_INFINITY, setting.high ?? Number.POSITIVE_INFINITY];
  if (number >= low && number <= high) return null;
  const shown = (bound: number) => (setting.kind === "SIZE" ? writtenSize(String(bound)) : String(bound));
  return { key: "wrong.bounds", values: { low: shown(low), high: shown(high) } };
}

export function wrongEmail(value: string): Wrong {
  return value === "" || /^[^\s@]+@[^\s@.]+(\.[^\s@.]+)+$/.test(value) ? null : { key: "wrong.email" };
}

/** The lines of the hub's refusal by setting; what names none is under "". */
export function byField(message: string, names: ReadonlySet<string>): Record<string, string> {
  const found: Record<string, string> = {};
  for (const line of message.split(/\\n|\n/)) {
    const first = /^(?:--)?([\w-]+)/.exec(line)?.[1]?.replaceAll("-", "_") ?? "";
    const name = names.has(first) ? first : "";
    found[name] = found[name] ? `${found[name]} ${line}` : line;
  }
  return found;
}

/** What has to be sent: values that are there and are not the defaults. Sizes go as bytes. */
export function given(settings: Setting[], values: Values): Pair[] {
  return settings.flatMap((setting) => {
    const value = (values[setting.name] ?? "").trim();
    const sent = setting.kind === "SIZE" && value !== "" ? String(readSize(value) ?? value) : value;
    return sent === "" || sent === setting.default ? [] : [{ name: setting.name, value: sent }];
  });
}
