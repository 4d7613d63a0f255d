import { useSyncExternalStore } from "react";

/** How one person likes the console; kept in the browser. */
export type Prefs = {
  language: "en" | "zh";
  theme: "auto" | "light" | "dark";
  density: "roomy" | "compact";
  zone: "local" | "utc";
};

const NAME = "dth.prefs";
const listeners = new Set<() => void>();

function first(): Prefs {
  const language = navigator.languages?.some((one) => one.toLowerCase().startsWith("zh")) ? "zh" : "en";
  const prefs: Prefs = { language, theme: "auto", density: "roomy", zone: "local" };
  try {
    const kept = JSON.parse(localStorage.getItem(NAME) ?? "{}") as Partial<Prefs>;
    return { ...prefs, ...kept };
  } catch {
    return prefs; // no storage, or not ours: the console works without
  }
}

let current = first();

function show(prefs: Prefs) {
  const root = document.documentElement;
  root.lang = prefs.language === "zh" ? "zh-CN" : "en";
  root.dataset["theme"] = prefs.theme;
  root.dataset["density"] = prefs.density;
}

show(current);

export function setPrefs(change: Partial<Prefs>) {
  current = { ...current, ...change };
  show(current);
  try {
    localStorage.setItem(NAME, JSON.stringify(current));
  } catch {
    // it holds until the page is left
  }
  for (const listener of listeners) listener();
}

export function usePrefs(): Prefs {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => current,
  );
}
