import { useEffect, useState } from "react";
import { Link, useNavigate, useParams } from "react-router";
import { DELETE_TASK, PAUSE_TASK, RESUME_TASK, RUN_TASK, STOP_TASK, VERIFY_TASK } from "../../api/questions";
import type { Task, TaskState } from "../../api/types";
import { useChange, useHub, useTask } from "../../api/use";
import { useText } from "../../i18n";
import { Icon } from "../../ui/icons";
import { State } from "../../ui/numbers";
import { Ask, Button, Failed, Loading, Menu, NotThere } from "../../ui/parts";
import { taskName } from "../tasks";
import { Failures } from "./failures";
import { Fleet } from "./fleet";
import { Logs } from "./logs";
import { Objects } from "./objects";
import { Overview } from "./overview";
import { Proof } from "./proof";
import { SettingsOf } from "./settings";

const TABS = {
  overview: Overview,
  failures: Failures,
  objects: Objects,
  proof: Proof,
  fleet: Fleet,
  logs: Logs,
  settings: SettingsOf,
};
type Tab = keyof typeof TABS;
const BUSY: TaskState[] = ["STARTING", "RUNNING", "STOPPING"];

/** One task, in tabs. All of them show the same answer, asked again every few seconds. */
export function TaskPage() {
  const { t, exact } = useText();
  const { id = "", tab: named } = useParams();
  const { task, error, isPending, refetch } = useTask(id);
  useEffect(() => {
    if (task) document.title = `${taskName(task)} – ${t("brand")}`;
  }, [task, t]);
  if (isPending) {
    return (
      <div className="page">
        <section className="card">
          <Loading lines={10} />
        </section>
      </div>
    );
  }
  if (!task) {
    return (
      <div className="page">
        {error ? <Failed error={error} retry={() => refetch()} /> : <NotThere title="gone.title" text="gone.text" />}
      </div>
    );
  }
  const tab: Tab = named && named in TABS ? (named as Tab) : "overview";
  const Shown = TABS[tab];
  const failed = task.latest?.failed ?? 0;
  return (
    <div className="page">
      <header>
        <div className="titles">
          <div className="crumbs">
            <Link to="/">{t("nav.tasks")}</Link> / {t(`type.${task.type}`)}
          </div>
          <div className="row">
            <h1>{taskName(task)}</h1>
            <State state={task.state} />
          </div>
          <div className="muted">
            {task.source?.url ?? "?"} → {task.destination?.url ?? "?"}
          </div>
        </div>
        <Actions task={task} />
      </header>
      <nav className="tabs" aria-label={t("task.tabs")}>
        {(Object.keys(TABS) as Tab[]).map((one) => (
          <Link
            key={one}
            to={`/tasks/${id}${one === "overview" ? "" : `/${one}`}`}
            aria-current={one === tab ? "page" : undefined}
          >
            {t(one === "objects" && task.type === "ECR" ? "tab.images" : `tab.${one}`)}
            {one === "failures" && failed > 0 ? ` (${exact(failed)})` : ""}
          </Link>
        ))}
      </nav>
      <Shown task={task} />
    </div>
  );
}

function Actions({ task }: { task: Task }) {
  const { t, told } = useText();
  const go = useNavigate();
  const hub = useHub();
  const [asking, setAsking] = useState<"stop" | "delete" | null>(null);
  const [run, pause, resume, stop] = [
    useChange(RUN_TASK),
    useChange(PAUSE_TASK),
    useChange(RESUME_TASK),
    useChange(STOP_TASK),
  ];
  const [verify, remove] = [useChange(VERIFY_TASK), useChange(DELETE_TASK)];
  const all = [run, pause, resume, stop, verify, remove];
  const busy = BUSY.includes(task.state);
  const waits = all.some((one) => one.isPending);
  const error = all.find((one) => one.error)?.error;
  if (hub && !hub.canWrite) return null;
  const { id } = task;
  // Whoever asked may be gone by the time of the answer, and with it what `mutate` would have called.
  const then = (done: Promise<unknown>, path: string) =>
    done.then(
      () => go(path),
      () => undefined, // shown below
    );
  return (
    <div className="stack tight" style={{ justifyItems: "end" }}>
      <div className="row">
        {task.state === "PAUSED" ? (
          <Button kind="primary" icon="play" disabled={waits} onClick={() => resume.mutate({ id })}>
            {t("do.resume")}
          </Button>
        ) : busy ? (
          <Button icon="pause" disabled={waits || task.state === "STOPPING"} onClick={() => pause.mutate({ id })}>
            {t("do.pause")}
          </Button>
        ) : (
          <Button kind="primary" icon="play" disabled={waits} onClick={() => run.mutate({ id })}>
            {t("do.run")}
          </Button>
        )}
        {task.type === "S3EC2" && (
          <Button
            icon="shield"
            disabled={waits || busy || task.state === "PAUSED"}
            onClick={() => then(verify.mutateAsync({ id }), `/tasks/${id}/proof`)}
          >
            {t("do.verify")}
          </Button>
        )}
        <Link className="btn" to={`/tasks/${id}/edit`}>
          <Icon name="edit" />
          {t("do.edit")}
        </Link>
        <Menu label={t("do.more")} icon="more">
          {(close) => {
            const act = (what: () => void) => () => {
              close();
              what();
            };
            return (
              <>
                {task.type === "S3EC2" && (
                  <button
                    type="button"
                    disabled={busy || task.state === "PAUSED"}
                    onClick={act(() => run.mutate({ id, verify: true }))}
                  >
                    <Icon name="shield" />
                    {t("do.runVerify")}
                  </button>
                )}
                <button
                  type="button"
                  disabled={!busy && task.state !== "PAUSED" && task.state !== "WAITING"}
                  onClick={act(() => setAsking("stop"))}
                >
                  <Icon name="stop" />
                  {t("do.stop")}
                </button>
                <button type="button" onClick={act(() => go(`/tasks/new?from=${id}`))}>
                  <Icon name="copy" />
                  {t("do.clone")}
                </button>
                <button type="button" disabled={busy} onClick={act(() => setAsking("delete"))}>
                  <Icon name="bin" />
                  {t("do.delete")}
                </button>
              </>
            );
          }}
        </Menu>
      </div>
      {error && (
        <span role="alert" style={{ color: "var(--bad)" }}>
          {error.code === "offline" ? t("offline.title") : told(error).join(" ")}
        </span>
      )}
      {asking && (
        <Ask
          title={t(`ask.${asking}`)}
          yes={t(`do.${asking}`)}
          danger
          busy={waits}
          onNo={() => setAsking(null)}
          onYes={() => {
            setAsking(null);
            if (asking === "stop") stop.mutate({ id });
            else then(remove.mutateAsync({ id, keepRecords: true }), "/");
          }}
        >
          <p>{t(`ask.${asking}Text`)}</p>
        </Ask>
      )}
    </div>
  );
}
