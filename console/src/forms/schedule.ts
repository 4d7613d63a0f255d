import type { Wrong } from "./check";

/** A schedule as the form has it. `text` is what the hub keeps; see `dth/hub/schedule.py`. */
export type Schedule =
  | { kind: "manual" }
  | { kind: "once"; at: string; zone: string }
  | { kind: "every"; count: string; unit: "minutes" | "hours" | "days" }
  | { kind: "cron"; fields: string; zone: string };

export const HERE = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

export function readSchedule(text: string): Schedule {
  const called = /^(cron|rate|at)\((.*)\)\s*(\S*)$/i.exec(text.trim()); // as the original's console writes them
  if (called) {
    const verb = { cron: "", rate: "every ", at: "once " }[called[1]?.toLowerCase() ?? ""];
    return readSchedule(`${verb}${called[2]} ${called[3]}`);
  }
  const words = text.trim().split(/\s+/);
  if (!words[0]) return { kind: "manual" };
  if (words[0] === "every") {
    const found = /^every (\d+)\s*(m|h|d)\w*$/i.exec(text.trim());
    const unit = { m: "minutes", h: "hours", d: "days" }[(found?.[2] ?? "h").toLowerCase()] as "hours";
    return { kind: "every", count: found?.[1] ?? "1", unit };
  }
  if (words[0] === "once") return { kind: "once", at: (words[1] ?? "").slice(0, 16), zone: words[2] ?? "UTC" };
  const zone =
    words.length > 5 && /[A-Za-z]\/|^UTC$/.test(words[words.length - 1] ?? "") ? (words.pop() ?? "UTC") : "UTC";
  return { kind: "cron", fields: words.join(" "), zone };
}

export function writeSchedule(schedule: Schedule): string {
  switch (schedule.kind) {
    case "manual":
      return "";
    case "once":
      return `once ${schedule.at} ${schedule.zone}`;
    case "every":
      return `every ${schedule.count} ${schedule.unit}`;
    case "cron":
      return `${schedule.fields.trim()} ${schedule.zone}`;
  }
}

const FIELD = /^[\d*?,/\-A-Za-z#]+$/;

export function wrongSchedule(schedule: Schedule): Wrong {
  switch (schedule.kind) {
    case "manual":
      return null;
    case "once":
      return Number.isNaN(Date.parse(schedule.at)) ? { key: "wrong.time" } : null;
    case "every": {
      const count = Number(schedule.count);
      if (!Number.isInteger(count) || count < 1) return { key: "wrong.number" };
      return schedule.unit === "minutes" && count < 2 ? { key: "wrong.interval" } : null;
    }
    case "cron": {
      const fields = schedule.fields.trim().split(/\s+/);
      return [5, 6].includes(fields.length) && fields.every((one) => FIELD.test(one)) ? null : { key: "wrong.cron" };
    }
  }
}

/** Every time zone that the browser knows. */
export function zones(): string[] {
  const known = Intl.supportedValuesOf("timeZone");
  return known.includes("UTC") ? known : ["UTC", ...known];
}
