import { Link } from "react-router";
import { REDRIVE_TASK } from "../../api/questions";
import type { Failure, Task } from "../../api/types";
import { useChange, useHub } from "../../api/use";
import { packed } from "../../format";
import { useText } from "../../i18n";
import { KeyText } from "../../ui/numbers";
import { Badge, Button, Card, Empty, Failed, Rich } from "../../ui/parts";

/** What failed, by cause, with what mends it. */
export function Failures({ task }: { task: Task }) {
  const { t } = useText();
  const hub = useHub();
  const redrive = useChange(REDRIVE_TASK);
  const run = task.latest;
  const failures = run?.failures ?? [];
  const retriable = failures.filter((one) => one.retriable && one.final);
  const busy = ["STARTING", "RUNNING", "STOPPING", "PAUSED"].includes(task.state) || redrive.isPending;
  const again = (codes: string[]) => redrive.mutate({ id: task.id, codes });
  if (failures.length === 0) {
    return (
      <Card>
        <Empty title={run ? t("failures.none") : t("overview.never")}>
          {run ? t("failures.noneText") : t("overview.neverText")}
        </Empty>
      </Card>
    );
  }
  return (
    <>
      {redrive.error && <Failed error={redrive.error} />}
      {hub?.canWrite !== false && (
        <div className="row between">
          <p className="muted">{t("failures.text")}</p>
          <Button
            kind="primary"
            icon="again"
            disabled={busy || retriable.length === 0}
            why={busy ? t("failures.busy") : t("failures.noRetriable")}
            onClick={() => again(retriable.map((one) => one.code))}
          >
            {t("failures.all")}
          </Button>
        </div>
      )}
      {failures.map((failure) => (
        <Cause
          key={failure.code}
          task={task}
          failure={failure}
          busy={busy}
          {...(hub?.canWrite === false ? {} : { onAgain: () => again([failure.code]) })}
        />
      ))}
    </>
  );
}

function Cause({
  task,
  failure,
  busy,
  onAgain,
}: {
  task: Task;
  failure: Failure;
  busy: boolean;
  onAgain?: () => void;
}) {
  const { t, cause, exact } = useText();
  const [label, hint] = cause(failure.code, failure.label, failure.hint ?? "");
  return (
    <Card
      title={
        <span className="row">
          {label}
          <Badge tone={failure.final ? "bad" : "warn"} dot={false}>
            {exact(failure.count)}
          </Badge>
          <code className="muted">{failure.code}</code>
        </span>
      }
      actions={
        <span className="row">
          {failure.final ? (
            <Badge tone={failure.retriable ? "busy" : "idle"}>
              {t(failure.retriable ? "failures.retriable" : "failures.mend")}
            </Badge>
          ) : (
            <Badge tone="warn">{t("failures.trying")}</Badge>
          )}
          {onAgain && failure.final && (
            <Button icon="again" disabled={busy} why={t("failures.busy")} onClick={onAgain}>
              {t("failures.redrive")}
            </Button>
          )}
        </span>
      }
    >
      <div className="stack">
        <p>
          <Rich text={hint} />
        </p>
        {failure.examples.length > 0 && (
          <div className="stack tight">
            <h3>{t("failures.examples")}</h3>
            <ul style={{ listStyle: "none" }} className="stack tight">
              {failure.examples.slice(0, 5).map((key) => (
                <li key={key}>
                  <Link to={`/tasks/${task.id}/objects?key=${packed(key)}`}>
                    <KeyText value={key} />
                  </Link>
                </li>
              ))}
            </ul>
            <Link to={`/tasks/${task.id}/objects?outcome=FAILED&code=${encodeURIComponent(failure.code)}`}>
              {t("failures.show", { n: failure.count })}
            </Link>
          </div>
        )}
      </div>
    </Card>
  );
}
