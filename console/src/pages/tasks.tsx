import { useEffect, useState } from "react";
import { Link, useSearchParams } from "react-router";
import { PAUSE_TASK, RESUME_TASK, STOP_TASK, TASKS } from "../api/questions";
import { TASK_STATES, type TaskPage, type TaskRow, type TaskState } from "../api/types";
import { useAsk, useChange, useHub } from "../api/use";
import { useText } from "../i18n";
import { Count, Progress, Size, State, When } from "../ui/numbers";
import { Button, Empty, Failed, Loading } from "../ui/parts";
import { First } from "./first";

const PAGE = 50;
const SORTS = ["CREATED_DESC", "UPDATED_DESC", "NAME", "STATE", "FAILED_DESC"] as const;

/** All tasks. The filter stands in the address, so that a link shows what its sender saw. */
export function Tasks() {
  const { t, exact } = useText();
  const [params, setParams] = useSearchParams();
  const hub = useHub();
  const state = TASK_STATES.find((one) => one === params.get("state"));
  const words = params.get("q") ?? "";
  const type = params.get("type") ?? "";
  const sort = SORTS.find((one) => one === params.get("sort")) ?? "CREATED_DESC";
  const after = params.get("after");
  const filter = {
    ...(state ? { states: [state] } : {}),
    ...(words ? { text: words } : {}),
    ...(type ? { type } : {}),
  };
  const asked = useAsk<{ tasks: TaskPage }>(TASKS, { filter, sort, limit: PAGE, after }, { poll: true, keep: true });
  const page = asked.data?.tasks;
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const set = (change: Record<string, string>) => {
    setChosen(new Set());
    setParams((old) => {
      const next = new URLSearchParams(old);
      for (const [name, value] of Object.entries({ after: "", ...change })) {
        if (value) next.set(name, value);
        else next.delete(name);
      }
      return next;
    });
  };
  useEffect(() => {
    document.title = t("tasks.title");
  }, [t]);

  const counted = new Map(page?.counts.map((one) => [one.name, one.count]));
  const all = [...counted.values()].reduce((sum, one) => sum + one, 0);
  if (page && all === 0 && !words && !type && !state) return <First />;
  return (
    <div className="page">
      <header>
        <div className="titles">
          <h1>{t("tasks.title")}</h1>
        </div>
        <div className="row">
          {hub?.canWrite !== false && (
            <Link className="btn primary" to="/tasks/new">
              {t("tasks.new")}
            </Link>
          )}
        </div>
      </header>
      <div className="filters">
        <Search value={words} onChange={(q) => set({ q })} />
        <div className="chips">
          <button type="button" className="chip" aria-pressed={!state} onClick={() => set({ state: "" })}>
            {t("tasks.all")} {page ? exact(all) : ""}
          </button>
          {TASK_STATES.filter((one) => counted.has(one) || one === state).map((one) => (
            <button
              key={one}
              type="button"
              className="chip"
              aria-pressed={state === one}
              onClick={() => set({ state: one })}
            >
              {t(`state.${one}`)} {exact(counted.get(one) ?? 0)}
            </button>
          ))}
        </div>
        <span style={{ flex: 1 }} />
        <select aria-label={t("tasks.type")} value={type} onChange={(event) => set({ type: event.target.value })}>
          <option value="">{t("tasks.anyType")}</option>
          <option value="S3EC2">{t("type.S3EC2")}</option>
          <option value="ECR">{t("type.ECR")}</option>
        </select>
        <select aria-label={t("tasks.sort")} value={sort} onChange={(event) => set({ sort: event.target.value })}>
          {SORTS.map((one) => (
            <option key={one} value={one}>
              {t(`sort.${one}`)}
            </option>
          ))}
        </select>
      </div>
      {asked.error && asked.error.code !== "offline" && <Failed error={asked.error} retry={() => asked.refetch()} />}
      <section className="card" aria-busy={asked.isPlaceholderData}>
        {chosen.size > 0 && page && (
          <Bulk rows={page.items.filter((one) => chosen.has(one.id))} onDone={() => setChosen(new Set())} />
        )}
        {!page && !asked.error && <Loading lines={8} />}
        {page && page.items.length === 0 && (
          <Empty
            title={t("tasks.none")}
            actions={<Button onClick={() => set({ q: "", state: "", type: "" })}>{t("tasks.clear")}</Button>}
          >
            {t("tasks.noneText")}
          </Empty>
        )}
        {page && page.items.length > 0 && <List rows={page.items} chosen={chosen} onChoose={setChosen} />}
        {page && (page.after || after) && (
          <div className="foot row between">
            <span className="muted">{t("tasks.shown", { n: page.items.length, total: page.total })}</span>
            <div className="row">
              <Button disabled={!after} onClick={() => set({ after: "" })}>
                {t("page.first")}
              </Button>
              <Button disabled={!page.after} onClick={() => set({ after: page.after ?? "" })}>
                {t("page.next")}
              </Button>
            </div>
          </div>
        )}
      </section>
    </div>
  );
}

/** Asks only when the typing pauses. */
export function Search({
  value,
  onChange,
  label,
}: {
  value: string;
  onChange: (value: string) => void;
  label?: string;
}) {
  const { t } = useText();
  const [typed, setTyped] = useState(value);
  useEffect(() => setTyped(value), [value]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: only typing starts the wait
  useEffect(() => {
    if (typed === value) return;
    const timer = setTimeout(() => onChange(typed), 300);
    return () => clearTimeout(timer);
  }, [typed]);
  return (
    <input
      type="search"
      value={typed}
      placeholder={label ?? t("tasks.search")}
      aria-label={label ?? t("tasks.search")}
      onChange={(event) => setTyped(event.target.value)}
    />
  );
}

const CAN: Record<"pause" | "resume" | "stop", TaskState[]> = {
  pause: ["STARTING", "RUNNING", "WAITING"],
  resume: ["PAUSED"],
  stop: ["STARTING", "RUNNING", "WAITING", "PAUSED"],
};

function Bulk({ rows, onDone }: { rows: TaskRow[]; onDone: () => void }) {
  const { t } = useText();
  const changes = { pause: useChange(PAUSE_TASK), resume: useChange(RESUME_TASK), stop: useChange(STOP_TASK) };
  const act = async (verb: keyof typeof CAN) => {
    await Promise.allSettled(
      rows.filter((row) => CAN[verb].includes(row.state)).map((row) => changes[verb].mutateAsync({ id: row.id })),
    );
    onDone();
  };
  return (
    <div className="head" style={{ background: "var(--accent-soft)" }}>
      <strong>{t("tasks.chosen", { n: rows.length })}</strong>
      <div className="row">
        {(["pause", "resume", "stop"] as const).map((verb) => (
          <Button
            key={verb}
            icon={verb === "resume" ? "play" : verb}
            disabled={!rows.some((row) => CAN[verb].includes(row.state))}
            onClick={() => act(verb)}
          >
            {t(`do.${verb}`)}
          </Button>
        ))}
      </div>
    </div>
  );
}

function List({
  rows,
  chosen,
  onChoose,
}: {
  rows: TaskRow[];
  chosen: ReadonlySet<string>;
  onChoose: (ids: ReadonlySet<string>) => void;
}) {
  const { t } = useText();
  const toggle = (id: string) => {
    const next = new Set(chosen);
    if (!next.delete(id)) next.add(id);
    onChoose(next);
  };
  return (
    <div className="table-wrap">
      <table>
        <thead>
          <tr>
            <th style={{ width: 1 }}>
              <input
                type="checkbox"
                aria-label={t("tasks.chooseAll")}
                checked={chosen.size === rows.length}
                onChange={() => onChoose(chosen.size === rows.length ? new Set() : new Set(rows.map((row) => row.id)))}
              />
            </th>
            <th style={{ minWidth: 160 }}>{t("tasks.task")}</th>
            <th>{t("tasks.state")}</th>
            <th style={{ minWidth: 170 }}>{t("tasks.progress")}</th>
            <th className="num">{t("tasks.rate")}</th>
            <th className="num">{t("tasks.left")}</th>
            <th className="num">{t("tasks.failed")}</th>
            <th>{t("tasks.next")}</th>
            <th className="num">{t("tasks.cost")}</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <Row key={row.id} row={row} chosen={chosen.has(row.id)} onToggle={() => toggle(row.id)} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** A task's name; where it has none, where it goes. */
export function taskName(task: {
  name: string | null;
  id: string;
  source: TaskRow["source"];
  destination: TaskRow["destination"];
}): string {
  return (
    task.name ||
    (task.source && task.destination ? `${task.source.bucket} → ${task.destination.bucket}` : task.id.slice(0, 8))
  );
}

function Row({ row, chosen, onToggle }: { row: TaskRow; chosen: boolean; onToggle: () => void }) {
  const { t, duration, money } = useText();
  const run = row.latest;
  const outside = row.problems.find((one) => one.code === "outside");
  return (
    <tr>
      <td>
        <input
          type="checkbox"
          checked={chosen}
          aria-label={t("tasks.choose", { name: taskName(row) })}
          onChange={onToggle}
        />
      </td>
      <td>
        <Link to={`/tasks/${row.id}`} style={{ fontWeight: 600 }}>
          {taskName(row)}
        </Link>
        <div className="small muted">
          {row.source?.url ?? "?"} → {row.destination?.url ?? "?"}
        </div>
      </td>
      <td>
        <State state={row.state} />
        {outside && <div className="small muted">{t("tasks.outside")}</div>}
      </td>
      <td>
        {run?.kind === "VERIFY" ? (
          <Link to={`/tasks/${row.id}/proof`}>{t(run.endedAt ? "tasks.verified" : "tasks.verifying")}</Link>
        ) : run ? (
          <div className="stack tight">
            <Progress run={run} />
            <span className="small muted nowrap">
              <Count value={run.done + run.skipped + run.failed} /> / <Count value={run.found} />
            </span>
          </div>
        ) : (
          <span className="muted">{t("tasks.neverRun")}</span>
        )}
      </td>
      <td className="num">
        {run?.bytesPerSecond ? <Size value={run.bytesPerSecond} rate /> : <span className="muted">–</span>}
      </td>
      <td className="num">{run?.etaSeconds != null ? duration(run.etaSeconds) : <span className="muted">–</span>}</td>
      <td className="num">
        {run && run.failed > 0 ? (
          <Link to={`/tasks/${row.id}/failures`} style={{ color: "var(--bad)", fontWeight: 600 }}>
            <Count value={run.failed} />
          </Link>
        ) : (
          <span className="muted">{run ? 0 : "–"}</span>
        )}
      </td>
      <td>
        <When at={row.nextRunAt} />
      </td>
      <td className="num">{run?.cost ? money(run.cost.usd) : <span className="muted">–</span>}</td>
    </tr>
  );
}
