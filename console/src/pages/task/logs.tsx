import { useEffect, useRef, useState } from "react";
import { useSearchParams } from "react-router";
import { ask } from "../../api/ask";
import { LOGS } from "../../api/questions";
import type { Level, LogLine, LogPage, Task } from "../../api/types";
import { useHub } from "../../api/use";
import { shownKey } from "../../format";
import { useText } from "../../i18n";
import { Button, Card, Empty, Loading } from "../../ui/parts";
import { Search } from "../tasks";

const LEVELS: Level[] = ["ERROR", "WARNING", "INFO", "DEBUG"];
const KEPT = 2000;

/** What the processes of the newest run say, as they say it. */
export function Logs({ task }: { task: Task }) {
  const { t, moment } = useText();
  const [params, setParams] = useSearchParams();
  const level = LEVELS.find((one) => one === params.get("level")) ?? "INFO";
  const contains = params.get("q") ?? "";
  const [follow, setFollow] = useState(true);
  const lines = useLines(task, level, contains, follow);
  const end = useRef<HTMLDivElement>(null);
  const count = lines?.length ?? 0;
  // biome-ignore lint/correctness/useExhaustiveDependencies: new lines move the view to their end
  useEffect(() => {
    if (follow && end.current) end.current.scrollTop = end.current.scrollHeight;
  }, [count, follow]);
  const set = (name: string, value: string) =>
    setParams((old) => {
      const next = new URLSearchParams(old);
      if (value) next.set(name, value);
      else next.delete(name);
      return next;
    });
  const save = () => {
    const text = (lines ?? []).map((line) => `${line.at} ${line.level} ${line.process} ${line.text}`).join("\n");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
    link.download = `dth-${task.id}.log`;
    link.click();
    URL.revokeObjectURL(link.href);
  };
  return (
    <>
      <div className="filters">
        <Search value={contains} label={t("logs.search")} onChange={(value) => set("q", value)} />
        <select
          aria-label={t("logs.level")}
          value={level}
          onChange={(event) => set("level", event.target.value === "INFO" ? "" : event.target.value)}
        >
          {LEVELS.map((one) => (
            <option key={one} value={one}>
              {t(`level.${one}`)}
            </option>
          ))}
        </select>
        <div className="check">
          <input id="follow" type="checkbox" checked={follow} onChange={(event) => setFollow(event.target.checked)} />
          <label htmlFor="follow">{t("logs.follow")}</label>
        </div>
        <span style={{ flex: 1 }} />
        <Button icon="download" disabled={!count} onClick={save}>
          {t("logs.download")}
        </Button>
      </div>
      <Card bare>
        {!lines && <Loading lines={8} />}
        {lines && count === 0 && <Empty title={t("logs.none")}>{t("logs.noneText")}</Empty>}
        {lines && count > 0 && (
          <div
            className="log table-wrap"
            ref={end}
            tabIndex={0}
            role="log"
            aria-label={t("tab.logs")}
            style={{ maxHeight: "62vh", overflow: "auto", padding: "8px 0" }}
          >
            <table>
              <tbody>
                {lines.map((line, place) => (
                  // biome-ignore lint/suspicious/noArrayIndexKey: lines only come at the end
                  <tr key={place}>
                    <td className="nowrap muted">{moment(line.at, true)}</td>
                    <td className={line.level}>{t(`level.${line.level}`)}</td>
                    <td className="muted nowrap">{line.process}</td>
                    <td>
                      {line.code && <span className="muted">{line.code} </span>}
                      <LineText text={shownKey(line.text)} />
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Card>
    </>
  );
}

/** The last lines, and those that follow while the tab can be seen. The oldest of very many are let go. */
function useLines(task: Task, level: Level, contains: string, follow: boolean): LogLine[] | null {
  const hub = useHub();
  const every = (hub?.pollSeconds ?? 2) * 1000;
  const [lines, setLines] = useState<LogLine[] | null>(null);
  const run = task.latest?.id;
  const followed = useRef(follow);
  followed.current = follow;
  // biome-ignore lint/correctness/useExhaustiveDependencies: another run has a log of its own
  useEffect(() => {
    const ended = new AbortController();
    let after: string | null = null;
    let timer = 0;
    const look = async () => {
      if (!document.hidden && (after === null || followed.current)) {
        try {
          const variables = { taskId: task.id, level, contains, limit: 500, after };
          const { logs }: { logs: LogPage } = await ask(LOGS, variables, ended.signal);
          const fresh = after === null;
          after = logs.after;
          setLines((old) => [...(fresh ? [] : (old ?? [])), ...logs.items].slice(-KEPT));
        } catch {
          // the page's own question says that the hub does not answer
        }
      }
      if (!ended.signal.aborted) timer = window.setTimeout(look, every);
    };
    setLines(null);
    look();
    return () => {
      ended.abort();
      clearTimeout(timer);
    };
  }, [task.id, run, level, contains, every]);
  return lines;
}

const SHORT = 300;

/** A line's text; of a long one its beginning, until somebody opens it. */
function LineText({ text }: { text: string }) {
  if (text.length <= SHORT) return <bdi>{text}</bdi>;
  return (
    <details className="long">
      <summary>
        <bdi>{text.slice(0, SHORT)}…</bdi>
      </summary>
      <bdi>{text}</bdi>
    </details>
  );
}
