import { createContext, type ReactNode, useContext, useEffect, useMemo, useState } from "react";
import * as format from "../format";
import { usePrefs } from "../prefs";
import { en } from "./en";
import { catalogue as english } from "./en-catalogue";
import { fill, type Values } from "./fill";
import { type Said, speaker } from "./said";

export type Key = keyof typeof en;
export type Texts = Record<Key, string>;
/** What the hub says in English, in another language: by the name of the setting, or by the error's code. */
export type Catalogue = {
  settings: Record<string, [string, string]>;
  causes: Record<string, [string, string]>;
  phrases: Record<string, string>;
  refusals: Record<string, [string, string]>;
  said: Said | null;
};

const Context = createContext<{ texts: Texts; catalogue: Catalogue; lang: format.Lang }>({
  texts: en,
  catalogue: english,
  lang: "en",
});

/** Loads Chinese only where it is read; until it is there, nothing is shown in the wrong language. */
export function Language({ children }: { children: ReactNode }) {
  const { language } = usePrefs();
  const [chinese, setChinese] = useState<{ texts: Texts; catalogue: Catalogue }>();
  useEffect(() => {
    if (language === "zh" && !chinese) import("./zh").then(({ zh, catalogue }) => setChinese({ texts: zh, catalogue }));
  }, [language, chinese]);
  const value = useMemo(
    () =>
      language === "zh" && chinese
        ? { ...chinese, lang: "zh" as const }
        : { texts: en, catalogue: english, lang: "en" as const },
    [language, chinese],
  );
  if (language === "zh" && !chinese) return null;
  return <Context value={value}>{children}</Context>;
}

/** The texts and formats of the chosen language. */
export function useText() {
  const { texts, catalogue, lang } = useContext(Context);
  const { zone } = usePrefs();
  return useMemo(() => {
    const t = (key: Key, values?: Values) => fill(texts[key], values, lang);
    return {
      lang,
      t,
      ...speaker(catalogue.said, lang, (side) => t(side === "source" ? "source" : "destination")),
      setting: (name: string, title: string, help: string): [string, string] =>
        catalogue.settings[name] ?? [title, help],
      cause: (code: string, label: string, hint: string): [string, string] => catalogue.causes[code] ?? [label, hint],
      /** What the hub refused, and what to do: by its code. What only its own words say (a name, a value) stays beside it. */
      told: (error: { code?: string; message: string; hint?: string }): [string, string] => {
        const [title, hint] = catalogue.refusals[error.code ?? ""] ?? [error.message, error.hint ?? ""];
        return title.includes("{message}") ? [title.replace("{message}", error.message), hint] : [title, hint];
      },
      phrase: (text: string) => catalogue.phrases[text] ?? text,
      count: (value: number | null | undefined) => format.count(value, lang),
      exact: (value: number) => format.exact(value, lang),
      bytes: (value: number | null | undefined) => format.bytes(value, lang),
      rate: (value: number | null | undefined) => (value == null ? "–" : `${format.bytes(value, lang)}/s`),
      duration: (value: number | null | undefined) => format.duration(value, lang),
      money: (value: number | null | undefined) => format.money(value, lang),
      moment: (value: string | number | null | undefined, seconds = false) => format.moment(value, lang, zone, seconds),
      clock: (value: number, seconds = false) => format.clock(value, lang, zone, seconds),
    };
  }, [texts, catalogue, lang, zone]);
}
