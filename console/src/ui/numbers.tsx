import type { Run, RunState, TaskState } from "../api/types";
import { shownKey } from "../format";
import { useText } from "../i18n";
import { Badge, type Tone } from "./parts";

/** A count as people read it, exact on hover. */
export function Count({ value }: { value: number | null | undefined }) {
  const { count, exact } = useText();
  return <span title={value == null ? undefined : exact(value)}>{count(value)}</span>;
}

/** A size in a unit that suits it, exact on hover. */
export function Size({ value, rate = false }: { value: number | null | undefined; rate?: boolean }) {
  const { bytes, exact, t } = useText();
  const unit = rate ? "/s" : "";
  return (
    <span title={value == null ? undefined : `${exact(Math.round(value))} ${t("unit.bytes")}${unit}`}>
      {bytes(value)}
      {value == null ? "" : unit}
    </span>
  );
}

export function When({ at, seconds = false }: { at: string | null | undefined; seconds?: boolean }) {
  const { moment } = useText();
  if (!at) return <span className="muted">–</span>;
  return (
    <time dateTime={at} title={at} className="nowrap">
      {moment(at, seconds)}
    </time>
  );
}

/** A key, in which nothing invisible stays invisible and nothing turns the line around. */
export function KeyText({ value }: { value: string }) {
  return (
    <bdi className="mono" dir="ltr">
      {shownKey(value)}
    </bdi>
  );
}

const TONES: Record<TaskState, Tone> = {
  DRAFT: "idle",
  STARTING: "busy",
  RUNNING: "busy",
  WAITING: "idle",
  PAUSED: "warn",
  STOPPING: "warn",
  STOPPED: "idle",
  DONE: "ok",
  FAILED: "bad",
};

export function State({ state }: { state: TaskState }) {
  const { t } = useText();
  return <Badge tone={TONES[state]}>{t(`state.${state}`)}</Badge>;
}

const RUN_TONES: Record<RunState, Tone> = {
  LISTING: "busy",
  SEALED: "busy",
  OVER: "ok",
  ABANDONED: "bad",
  STANDING: "busy",
};

export function RunBadge({ run }: { run: { state: RunState; failed: number } }) {
  const { t } = useText();
  const tone = run.state === "OVER" && run.failed > 0 ? "warn" : RUN_TONES[run.state];
  return (
    <Badge tone={tone}>{t(run.state === "OVER" && run.failed > 0 ? "run.withFailures" : `run.${run.state}`)}</Badge>
  );
}

type Sums = Pick<Run, "found" | "done" | "skipped" | "failed">;

/** How much of what was found has ended, and how. */
export function Progress({ run, big = false }: { run: Sums; big?: boolean }) {
  const { t, exact } = useText();
  const ended = run.done + run.skipped + run.failed;
  const total = Math.max(run.found ?? 0, ended);
  const share = (value: number) => (total > 0 ? `${(100 * value) / total}%` : "0%");
  const percent = total > 0 ? Math.floor((100 * ended) / total) : 0;
  return (
    <div
      className={`progress ${big ? "big" : ""}`}
      role="progressbar"
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={percent}
      aria-label={t("progress.label", { done: exact(ended), total: exact(total) })}
      title={t("progress.label", { done: exact(ended), total: exact(total) })}
    >
      <span className="fill-done" style={{ width: share(run.done) }} />
      <span className="fill-skipped" style={{ width: share(run.skipped) }} />
      <span className="fill-failed" style={{ width: share(run.failed) }} />
    </div>
  );
}
