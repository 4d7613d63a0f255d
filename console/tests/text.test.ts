import { expect, test } from "vitest";
import { en } from "../src/i18n/en";
import { fill } from "../src/i18n/fill";
import { zh } from "../src/i18n/zh";

const names = (text: string) => [...new Set(text.match(/\{\w+\}/g) ?? [])].sort();

test("Chinese has every text of English, with the same values in it", () => {
  expect(Object.keys(zh).sort()).toEqual(Object.keys(en).sort());
  for (const [key, text] of Object.entries(en)) {
    const other = zh[key as keyof typeof en];
    const needed = names(text).filter((name) => name !== "{n}" || text.includes("|"));
    expect([key, names(other)]).toEqual([key, expect.arrayContaining(needed)]);
    expect([key, names(text)]).toEqual([key, expect.arrayContaining(names(other))]);
  }
});

test("no text of Chinese is still English", () => {
  const alike = Object.entries(zh).filter(([key, text]) => text === en[key as keyof typeof en]);
  expect(alike.map(([key]) => key).sort()).toEqual(["look.utc", "schedule.cron"]);
});

test("plurals follow the number, and numbers are grouped", () => {
  expect(fill("1 task|{n} tasks", { n: 1 })).toBe("1 task");
  expect(fill("1 task|{n} tasks", { n: 0 })).toBe("0 tasks");
  expect(fill("1 task|{n} tasks", { n: 12345 })).toBe("12,345 tasks");
  expect(fill("{a} of {b}", { a: "x" })).toBe("x of {b}");
});
