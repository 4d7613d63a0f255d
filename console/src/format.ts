/** Numbers, sizes, times and keys as people read them. Pure functions: the language is an argument. */
export type Lang = "en" | "zh";
const LOCALE: Record<Lang, string> = { en: "en-US", zh: "zh-CN" };
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/** Every digit. */
export function exact(value: number, lang: Lang): string {
  return value.toLocaleString(LOCALE[lang], { maximumFractionDigits: 2 });
}

/** Up to 99,999 every digit, then short: 1.24M. */
export function count(value: number | null | undefined, lang: Lang): string {
  if (value == null) return "–";
  if (Math.abs(value) < 100_000) return exact(value, lang);
  return value.toLocaleString(LOCALE[lang], { notation: "compact", maximumSignificantDigits: 3 });
}

/** Bytes in the unit that leaves one to four digits before the point. */
export function bytes(value: number | null | undefined, lang: Lang): string {
  if (value == null) return "–";
  let place = 0;
  let left = value;
  while (Math.abs(left) >= 1024 && place < UNITS.length - 1) {
    left /= 1024;
    place += 1;
  }
  const digits = place === 0 || Math.abs(left) >= 100 ? 0 : 1;
  const shown = left.toLocaleString(LOCALE[lang], { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return `${shown} ${UNITS[place]}`;
}

const STEPS = {
  en: [
    [86_400, "d"],
    [3600, "h"],
    [60, "min"],
    [1, "s"],
  ],
  zh: [
    [86_400, "天"],
    [3600, "小时"],
    [60, "分"],
    [1, "秒"],
  ],
} as const;

/** Seconds in their two largest units: 2 h 5 min. */
export function duration(seconds: number | null | undefined, lang: Lang): string {
  if (seconds == null || !Number.isFinite(seconds)) return "–";
  let left = Math.max(Math.round(seconds), 0);
  const parts: string[] = [];
  for (const [size, unit] of STEPS[lang]) {
    const whole = Math.floor(left / size);
    left -= whole * size;
    if (whole > 0 && parts.length < 2) parts.push(`${whole} ${unit}`);
    else if (parts.length > 0) break;
  }
  return parts.join(" ") || `0 ${STEPS[lang][3][1]}`;
}

export function money(value: number | null | undefined, lang: Lang): string {
  if (value == null) return "–";
  const digits = value > 0 && value < 0.01 ? 4 : 2;
  return value.toLocaleString(LOCALE[lang], {
    style: "currency",
    currency: "USD",
    currencyDisplay: "narrowSymbol",
    minimumFractionDigits: 2,
    maximumFractionDigits: digits,
  });
}

export type Zone = "local" | "utc";

/** Date and time to the minute, or to the second. */
export function moment(text: string | number | null | undefined, lang: Lang, zone: Zone, seconds = false): string {
  if (text == null) return "–";
  const date = new Date(text);
  if (Number.isNaN(date.getTime())) return "–";
  return date.toLocaleString(LOCALE[lang], {
    year: "numeric",
    month: lang === "zh" ? "2-digit" : "short",
    day: lang === "zh" ? "2-digit" : "numeric",
    hour: "2-digit",
    minute: "2-digit",
    ...(seconds ? { second: "2-digit" } : {}),
    hourCycle: "h23",
    ...(zone === "utc" ? { timeZone: "UTC", timeZoneName: "short" } : {}),
  });
}

/** Hours and minutes for the axis of a chart. */
export function clock(seconds: number, lang: Lang, zone: Zone, fine = false): string {
  return new Date(seconds * 1000).toLocaleTimeString(LOCALE[lang], {
    hour: "2-digit",
    minute: "2-digit",
    ...(fine ? { second: "2-digit" } : {}),
    hourCycle: "h23",
    ...(zone === "utc" ? { timeZone: "UTC" } : {}),
  });
}

// Controls, marks of direction, invisible ones, and halves of surrogate pairs: what would lie about the rest of a line.
const HIDDEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/** A key with everything that cannot be seen written as \u{...}. */
export function shownKey(key: string): string {
  return key.replace(HIDDEN, (one) => `\\u{${(one.codePointAt(0) ?? 0).toString(16)}}`);
}

/** A text for the address bar: its bytes in base64url, so that no key stands there as it is. */
export function packed(text: string): string {
  const raw = new TextEncoder().encode(JSON.stringify(text));
  return btoa(String.fromCharCode(...raw))
    .replace(/\+/g, "-")
    .replace(/\//g, "_")
    .replace(/=+$/, "");
}

/** The reverse; "" for what is none. */
export function unpacked(text: string): string {
  try {
    const raw = Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (one) => one.charCodeAt(0));
    const found: unknown = JSON.parse(new TextDecoder().decode(raw));
    return typeof found === "string" ? found : "";
  } catch {
    return "";
  }
}
