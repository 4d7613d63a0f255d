import type { Pair, Problem } from "../api/types";
import type { Lang } from "../format";
import { fill } from "./fill";

/** What the hub says in English sentences, in another language: by the code that comes with each. */
export type Said = {
  notices: Record<string, [string, string]>;
  questions: Record<string, string>;
  rules: Record<string, string>;
  unpriced: Record<string, string>;
};

/** A message's values by name; whole numbers as numbers, so that they are grouped. */
export function valuesOf(pairs: readonly Pair[]): Record<string, string | number> {
  return Object.fromEntries(
    pairs.map(({ name, value }) => [name, /^\d{1,15}$/.test(value) && name !== "pid" ? Number(value) : value]),
  );
}

/** Speaks of the hub's messages in one language; without a catalogue (`null`), in the hub's own words. */
export function speaker(said: Said | null, lang: Lang, side: (name: string) => string) {
  return {
    /** A problem's or warning's title and text; `cause` is what the catalogue of errors has for its code. */
    notice: ({ code, title, detail, values }: Problem, cause: [string, string]): [string, string] => {
      const found = said?.notices[code];
      const known = valuesOf(values);
      if (found) {
        const named = "side" in known ? { ...known, side: side(String(known["side"])) } : known;
        return [found[0], fill(found[1], named, lang)];
      }
      return [cause[0] || title, detail];
    },
    question: (name: string, text: string): string => said?.questions[name] ?? text,
    /** Which rule decided about a key. `setting` is the title of the setting that left it out. */
    rule: (code: string, text: string, setting: string): string => {
      const found = said?.rules[code];
      return found ? fill(found, { setting }, lang) : text;
    },
    /** What is missing from a sum of money. */
    unpriced: (missing: readonly Pair[], texts: readonly string[]): string =>
      said
        ? missing.map(({ name, value }) => fill(said.unpriced[name] ?? name, { region: value }, lang)).join("；")
        : texts.join(", "),
  };
}
