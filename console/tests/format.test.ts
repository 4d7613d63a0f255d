import { expect, test } from "vitest";
import { bytes, count, duration, moment, money, packed, shownKey, unpacked } from "../src/format";

test("sizes keep one to four digits, in binary units", () => {
  expect([0, 1023, 1024, 1536, 10 * 1024 ** 2, 2.5 * 1024 ** 4].map((one) => bytes(one, "en"))).toEqual([
    "0 B",
    "1,023 B",
    "1.0 KiB",
    "1.5 KiB",
    "10.0 MiB",
    "2.5 TiB",
  ]);
  expect(bytes(null, "en")).toBe("–");
});

test("counts are exact up to 99,999 and short above", () => {
  expect([99_999, 100_000, 1_234_567].map((one) => count(one, "en"))).toEqual(["99,999", "100K", "1.23M"]);
  expect(count(123_456_789, "zh")).toBe("1.23亿");
});

test("durations show their two largest units", () => {
  expect([0, 59.6, 3725, 86_400 * 2 + 3600].map((one) => duration(one, "en"))).toEqual([
    "0 s",
    "1 min",
    "1 h 2 min",
    "2 d 1 h",
  ]);
  expect(duration(3600, "zh")).toBe("1 小时");
  expect(duration(Number.POSITIVE_INFINITY, "en")).toBe("–");
});

test("times are shown in UTC where that is wanted, and money with cents or finer", () => {
  expect(moment("2026-11-28T23:30:00Z", "en", "utc")).toBe("Nov 28, 2026, 23:30 UTC");
  expect(moment("nonsense", "en", "utc")).toBe("–");
  expect(money(0.0023, "en")).toBe("$0.0023");
});

test("nothing in a key stays invisible or turns the line around", () => {
  expect(shownKey("a\u202eb\nc\ud800")).toBe("a\\u{202e}b\\u{a}c\\u{d800}");
  expect(shownKey("照片/é.jpg")).toBe("照片/é.jpg");
});

test("any key travels through an address and back, half surrogates too", () => {
  for (const key of ["a/b?c#d%2F", "<img onerror>", "\u202e", "\ud800x", "照片", ""]) {
    expect(packed(key)).toMatch(/^[\w-]*$/);
    expect(unpacked(packed(key))).toBe(key);
  }
  expect(unpacked("%%%")).toBe("");
});
