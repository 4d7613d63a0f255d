import { useState } from "react";
import { VERIFY_TASK } from "../../api/questions";
import type { Run, Task } from "../../api/types";
import { useAsk, useChange, useHub } from "../../api/use";
import { useText } from "../../i18n";
import { RunBadge, When } from "../../ui/numbers";
import { Alert, Badge, Button, Card, Empty, Failed, Loading } from "../../ui/parts";

/** Comparisons that make the two sides differ: those of `dth.states.Comparison`, which a test compares with these. */
const DIFFERENCES = ["missing", "extra", "size", "content", "metadata", "changed", "needs_restore", "failed"];
const RUN = `query($id: ID!) { run(id: $id) { id kind state startedAt endedAt listed { source destination } found done skipped failed bytes
  proofs { name label count } exitCode reconciles } }`;

/** What is proven about both sides, and by what. */
export function Proof({ task }: { task: Task }) {
  const { t } = useText();
  const hub = useHub();
  const verify = useChange(VERIFY_TASK);
  const [download, setDownload] = useState(false);
  const row = task.runs.items.find((one) => one.kind === "VERIFY");
  const asked = useAsk<{ run: Run | null }>(RUN, { id: row?.id ?? "" }, { enabled: row != null, poll: true });
  // A transfer may have verified both sides at its end; then it is the newest word on them.
  const latest = task.latest;
  const ownProof = latest?.proofs.some((one) => one.name === "equal" || DIFFERENCES.includes(one.name));
  const run = ownProof ? latest : asked.data?.run;
  const busy = ["STARTING", "RUNNING", "STOPPING", "PAUSED"].includes(task.state);
  if (task.type === "ECR") {
    return (
      <Card>
        <Empty title={t("proof.images")}>{t("proof.imagesText")}</Empty>
      </Card>
    );
  }
  return (
    <>
      {verify.error && <Failed error={verify.error} />}
      <Card title={t("proof.now")}>
        <div className="row between">
          <div className="stack tight">
            <p>{t("proof.text")}</p>
            <div className="check">
              <input
                id="download"
                type="checkbox"
                checked={download}
                onChange={(event) => setDownload(event.target.checked)}
              />
              <label htmlFor="download">{t("proof.download")}</label>
              <span className="help muted">{t("proof.downloadText")}</span>
            </div>
          </div>
          {hub?.canWrite !== false && (
            <Button
              kind="primary"
              icon="shield"
              disabled={busy || verify.isPending}
              why={t("failures.busy")}
              onClick={() => verify.mutate({ id: task.id, download })}
            >
              {t("do.verify")}
            </Button>
          )}
        </div>
      </Card>
      {!row && !ownProof && (
        <Card>
          <Empty title={t("proof.none")}>{t("proof.noneText")}</Empty>
        </Card>
      )}
      {row && !ownProof && asked.isPending && <Loading />}
      {run && <Statement task={task} run={run} />}
    </>
  );
}

function Statement({ task, run }: { task: Task; run: Run }) {
  const { t, exact, phrase } = useText();
  const different = run.proofs.filter((one) => DIFFERENCES.includes(one.name) && one.count > 0);
  const unproven = run.proofs.find((one) => one.name === "not_verifiable")?.count ?? 0;
  const proven = run.proofs.filter(
    (one) => !DIFFERENCES.includes(one.name) && !["not_verifiable", "equal"].includes(one.name) && one.count > 0,
  );
  const clean = run.endedAt != null && different.length === 0 && run.exitCode === 0;
  return (
    <Card
      title={
        <span className="row">
          {t("proof.statement")} <RunBadge run={{ state: run.state, failed: 0 }} />
        </span>
      }
      actions={
        <span className="row no-print">
          <When at={run.startedAt} />
          <Button icon="download" onClick={() => window.print()}>
            {t("proof.print")}
          </Button>
        </span>
      }
    >
      <div className="stack">
        {clean && unproven === 0 && (
          <Alert tone="ok" title={t("proof.clean", { n: run.listed.source })}>
            {task.source?.url} → {task.destination?.url}
          </Alert>
        )}
        {clean && unproven > 0 && (
          <Alert tone="warn" title={t("proof.unproven", { n: unproven })}>
            {t("proof.unprovenText")}
          </Alert>
        )}
        {different.length > 0 && (
          <Alert tone="bad" title={t("proof.different")}>
            {different.map((one) => `${phrase(one.label)}: ${exact(one.count)}`).join(" · ")}
          </Alert>
        )}
        <dl className="facts">
          <dt>{t("overview.listedSource")}</dt>
          <dd>{exact(run.listed.source)}</dd>
          <dt>{t("overview.listedDestination")}</dt>
          <dd>{exact(run.listed.destination)}</dd>
          <dt>{t("proof.method")}</dt>
          <dd className="row">
            {proven.map((one) => (
              <Badge key={one.name} tone="ok" dot={false}>
                {phrase(`proof ${one.label}`)}: {exact(one.count)}
              </Badge>
            ))}
            {proven.length === 0 && "–"}
          </dd>
        </dl>
      </div>
    </Card>
  );
}
