import type { Catalogue, Texts } from ".";
import { en } from "./en";
export const zh: Texts = { ...en };
export const catalogue: Catalogue = { settings: {}, causes: {}, phrases: {} };
