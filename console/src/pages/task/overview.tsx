import { Link } from "react-router";
import type { Problem, Run, Task } from "../../api/types";
import { useText } from "../../i18n";
import { Count, Progress, RunBadge, Size, When } from "../../ui/numbers";
import { Alert, Badge, Card, Empty, Rich } from "../../ui/parts";
import { Figures } from "./figures";

/** How the task fares: problems, the newest run, figures over time, and the runs before. */
export function Overview({ task }: { task: Task }) {
  const { t } = useText();
  const run = task.latest;
  const causes = task.problems.some((one) => one.link === "failures");
  const shown = task.problems.filter((one) => !(causes && one.code === "some_failed")); // the causes say more
  return (
    <>
      {shown.map((problem) => (
        <ProblemAlert key={problem.code} task={task} problem={problem} />
      ))}
      {run ? (
        <Newest task={task} run={run} />
      ) : (
        <Card>
          <Empty title={t("overview.never")}>{t("overview.neverText")}</Empty>
        </Card>
      )}
      {run && <Figures task={task} />}
      {run && run.kind !== "VERIFY" && <Details run={run} />}
      {task.runs.items.length > 0 && <Runs task={task} />}
    </>
  );
}

function ProblemAlert({ task, problem }: { task: Task; problem: Problem }) {
  const { t, cause, notice } = useText();
  const [label, hint] = cause(problem.code, problem.title, problem.hint ?? "");
  const [title, text] = notice(problem, [label, hint]);
  const said = problem.values.find((one) => one.name === "said");
  const tone = problem.level === "ERROR" ? "bad" : problem.level === "WARNING" ? "warn" : "info";
  return (
    <Alert
      tone={tone}
      title={title}
      action={
        problem.link === "failures" || problem.link === "logs" ? (
          <Link className="btn" to={`/tasks/${task.id}/${problem.link}`}>
            {t(`tab.${problem.link}`)}
          </Link>
        ) : undefined
      }
    >
      {said ? t("overview.failedOf", { n: problem.count }) + said.value : text}
      {hint && (
        <div className="muted">
          <Rich text={hint} />
        </div>
      )}
    </Alert>
  );
}

function Newest({ task, run }: { task: Task; run: Run }) {
  const { t, duration, money, exact, unpriced } = useText();
  const ended = run.done + run.skipped + run.failed;
  const verify = run.kind === "VERIFY";
  return (
    <Card
      title={
        <span className="row">
          {t(`kind.${run.kind}`)} <RunBadge run={run} />
          {run.reconciles === true && (
            <span title={t("overview.reconcilesText")}>
              <Badge tone="ok">{t("overview.reconciles")}</Badge>
            </span>
          )}
          {run.endedAt && run.reconciles === false && <Badge tone="bad">{t("overview.reconcilesNot")}</Badge>}
        </span>
      }
      actions={
        <span className="muted">
          <When at={run.startedAt} />
          {verify && run.endedAt && ` · ${duration(took(run.startedAt, run.endedAt))}`}
        </span>
      }
    >
      <div className="stack">
        {verify && (
          <div className="row between">
            <strong style={{ fontSize: "1.2em" }}>
              {t("overview.compared", { source: exact(run.listed.source), destination: exact(run.listed.destination) })}
            </strong>
            <Link className="btn" to={`/tasks/${task.id}/proof`}>
              {t("tab.proof")}
            </Link>
          </div>
        )}
        {!verify && (
          <div className="stack tight">
            <div className="row between">
              <strong style={{ fontSize: "1.2em" }}>
                {t("overview.of", { done: exact(ended), total: run.found == null ? "?" : exact(run.found) })}
              </strong>
              <span className="muted">
                {run.state === "LISTING" ? t("overview.listing", { n: run.listed.source }) : ""}
              </span>
            </div>
            <Progress run={run} big />
            <div className="row small muted" style={{ gap: 18 }}>
              {(["done", "skipped", "failed"] as const).map((name) => (
                <span key={name}>
                  <span className={`swatch fill-${name}`} />
                  {t(`outcome.${name}`)} <strong style={{ color: "var(--text)" }}>{exact(run[name])}</strong>
                </span>
              ))}
              <span>
                <span className="swatch fill-left" />
                {t("outcome.left")}{" "}
                <strong style={{ color: "var(--text)" }}>
                  {run.found == null ? "–" : exact(Math.max(run.found - ended, 0))}
                </strong>
              </span>
            </div>
          </div>
        )}
        {!verify && (
          <dl className="stats">
            <Stat name={t("overview.moved")}>
              <Size value={run.bytes} />
            </Stat>
            {run.endedAt ? (
              <>
                <Stat name={t("runs.took")}>{duration(took(run.startedAt, run.endedAt))}</Stat>
                <Stat name={t("overview.meanRate")}>
                  <Size value={run.bytes / Math.max(took(run.startedAt, run.endedAt), 1)} rate />
                </Stat>
              </>
            ) : (
              <>
                <Stat name={t("overview.rate")}>
                  <Size value={run.bytesPerSecond} rate />
                </Stat>
                <Stat name={t("overview.left")}>{duration(run.etaSeconds)}</Stat>
                <Stat name={t("overview.workers")}>{exact(task.workers.length)}</Stat>
                <Stat name={t("overview.waiting")}>
                  <Count value={task.queue?.waiting} />
                </Stat>
              </>
            )}
            {task.lagSeconds != null && <Stat name={t("overview.lag")}>{duration(task.lagSeconds)}</Stat>}
            <Stat name={t("overview.cost")}>
              <span
                title={
                  run.cost?.notPriced.length
                    ? t("cost.notPriced", { what: unpriced(run.cost.missing, run.cost.notPriced) })
                    : undefined
                }
              >
                {money(run.cost?.usd)}
              </span>
            </Stat>
            {task.nextRunAt && (
              <div>
                <dt>{t("overview.next")}</dt>
                <dd style={{ fontSize: "1em", lineHeight: 1.75 }}>
                  <When at={task.nextRunAt} />
                </dd>
              </div>
            )}
          </dl>
        )}
      </div>
    </Card>
  );
}

/** Seconds between two moments. */
function took(startedAt: string, endedAt: string): number {
  return (Date.parse(endedAt) - Date.parse(startedAt)) / 1000;
}

function Stat({ name, children }: { name: string; children: React.ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function Details({ run }: { run: Run }) {
  const { t, exact, money, moment, unpriced } = useText();
  const cost = run.cost;
  return (
    <div className="grid2">
      <Card title={t("overview.counts")}>
        <dl className="facts">
          <dt>{t("overview.listedSource")}</dt>
          <dd>{exact(run.listed.source)}</dd>
          <dt>{t("overview.listedDestination")}</dt>
          <dd>{exact(run.listed.destination)}</dd>
          <dt>{t("overview.notSelected")}</dt>
          <dd>{exact(run.notSelected)}</dd>
          <dt>{t("overview.found")}</dt>
          <dd>
            {run.found == null ? "–" : exact(run.found)} (<Size value={run.foundBytes} />)
          </dd>
          <dt>{t("overview.deleted")}</dt>
          <dd>{exact(run.deleted)}</dd>
          <dt>{t("overview.undecided")}</dt>
          <dd>{exact(run.undecided)}</dd>
        </dl>
      </Card>
      <Card title={t("overview.requests")}>
        {run.requests.length === 0 ? (
          <p className="muted">{t("overview.noRequests")}</p>
        ) : (
          <dl className="facts">
            {run.requests.map((one) => (
              <div key={`${one.side} ${one.operation}`} style={{ display: "contents" }}>
                <dt>
                  {t(one.side === "source" ? "source" : "destination")} · <code>{one.operation}</code>
                </dt>
                <dd>{exact(one.count)}</dd>
              </div>
            ))}
          </dl>
        )}
        {cost && (
          <p className="small muted" style={{ marginTop: 12 }}>
            {t("cost.line", {
              requests: money(cost.requestsUsd),
              egress: money(cost.egressUsd),
              of: moment(cost.pricesOf),
            })}{" "}
            {cost.notPriced.length > 0 && t("cost.notPriced", { what: unpriced(cost.missing, cost.notPriced) })}
          </p>
        )}
      </Card>
    </div>
  );
}

function Runs({ task }: { task: Task }) {
  const { t, duration } = useText();
  return (
    <Card title={t("runs.title")} bare>
      <div className="table-wrap">
        <table>
          <thead>
            <tr>
              <th>{t("runs.started")}</th>
              <th>{t("runs.kind")}</th>
              <th>{t("runs.state")}</th>
              <th className="num">{t("runs.took")}</th>
              <th className="num">{t("outcome.done")}</th>
              <th className="num">{t("outcome.skipped")}</th>
              <th className="num">{t("outcome.failed")}</th>
              <th className="num">{t("overview.moved")}</th>
            </tr>
          </thead>
          <tbody>
            {task.runs.items.map((run) => (
              <tr key={run.id}>
                <td>
                  <When at={run.startedAt} seconds />
                </td>
                <td className="nowrap">{t(`kind.${run.kind}`)}</td>
                <td>
                  <RunBadge run={run} />
                </td>
                <td className="num">{run.endedAt ? duration(took(run.startedAt, run.endedAt)) : "–"}</td>
                <td className="num">
                  <Count value={run.done} />
                </td>
                <td className="num">
                  <Count value={run.skipped} />
                </td>
                <td className="num">
                  {run.failed > 0 ? (
                    <Link to={`/tasks/${task.id}/objects?run=${run.id}&outcome=FAILED`}>
                      <Count value={run.failed} />
                    </Link>
                  ) : (
                    0
                  )}
                </td>
                <td className="num">
                  <Size value={run.bytes} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Card>
  );
}
