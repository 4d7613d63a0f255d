import * as format from "../format";

export type Values = Record<string, string | number>;

/** Fills in `{name}`; of `one|many` it takes the part that suits `n`. */
export function fill(text: string, values: Values = {}, lang: format.Lang = "en"): string {
  const [one = "", many] = text.split("|");
  const chosen = many !== undefined && values["n"] !== 1 ? many : one;
  return chosen.replace(/\{(\w+)\}/g, (whole, name: string) => {
    const value = values[name];
    return typeof value === "number" ? format.exact(value, lang) : (value ?? whole);
  });
}
