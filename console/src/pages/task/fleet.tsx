import { type FormEvent, useState } from "react";
import { LIMIT_TASK } from "../../api/questions";
import type { Task } from "../../api/types";
import { useChange, useHub } from "../../api/use";
import { readSize } from "../../forms/check";
import { useText } from "../../i18n";
import { Count, Size, When } from "../../ui/numbers";
import { Badge, Button, Card, Empty, Failed, type Tone } from "../../ui/parts";

const TONES: Record<string, Tone> = { WORKING: "busy", IDLE: "idle", STARTING: "busy", DRAINING: "warn", LOST: "bad" };

/** Who works on the task now, and how much they may use. */
export function Fleet({ task }: { task: Task }) {
  const { t, exact } = useText();
  const hub = useHub();
  return (
    <>
      {hub?.canWrite !== false && <Limits task={task} />}
      <Card title={t("fleet.title", { n: task.workers.length })} bare>
        {task.workers.length === 0 ? (
          <Empty title={t("fleet.none")}>{t("fleet.noneText")}</Empty>
        ) : (
          <div className="table-wrap">
            <table>
              <thead>
                <tr>
                  <th>{t("fleet.worker")}</th>
                  <th>{t("tasks.state")}</th>
                  <th className="num">{t("fleet.objects")}</th>
                  <th className="num">{t("fleet.bytes")}</th>
                  <th className="num">{t("overview.rate")}</th>
                  <th className="num">{t("fleet.cpu")}</th>
                  <th className="num">{t("fleet.memory")}</th>
                  <th>{t("fleet.since")}</th>
                </tr>
              </thead>
              <tbody>
                {task.workers.map((worker) => (
                  <tr key={worker.name}>
                    <td>
                      <strong>{worker.name}</strong>
                      <div className="small muted">
                        {worker.host}
                        {worker.pid != null && ` · pid ${worker.pid}`}
                      </div>
                    </td>
                    <td>
                      <Badge tone={TONES[worker.state] ?? "idle"}>{t(`worker.${worker.state}`)}</Badge>
                    </td>
                    <td className="num">
                      <Count value={worker.objectsInFlight} />
                    </td>
                    <td className="num">
                      <Size value={worker.bytesInFlight} />
                    </td>
                    <td className="num">
                      <Size value={worker.bytesPerSecond} rate />
                    </td>
                    <td className="num">{worker.cpu == null ? "–" : exact(worker.cpu)}</td>
                    <td className="num">
                      <Size value={worker.memory} />
                    </td>
                    <td>
                      <When at={worker.since} />
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

function Limits({ task }: { task: Task }) {
  const { t } = useText();
  const limit = useChange(LIMIT_TASK);
  const of = (name: string) => task.settings.find((one) => one.name === name)?.value ?? "";
  const [bandwidth, setBandwidth] = useState(of("bandwidth"));
  const [workers, setWorkers] = useState(of("processes"));
  const size = bandwidth.trim() === "" ? 0 : readSize(bandwidth);
  const number = workers.trim() === "" ? 0 : Number(workers);
  const good = size != null && Number.isInteger(number) && number >= 0 && number <= 256;
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (good) limit.mutate({ id: task.id, bandwidth: size, ...(task.type === "S3EC2" ? { workers: number } : {}) });
  };
  return (
    <Card title={t("fleet.limits")}>
      <form className="stack" onSubmit={submit}>
        {limit.error && <Failed error={limit.error} />}
        <div className="fields">
          <div className="field">
            <label htmlFor="limit-bandwidth">{t("fleet.bandwidth")}</label>
            <input
              id="limit-bandwidth"
              value={bandwidth}
              placeholder={t("fleet.noLimit")}
              aria-invalid={size == null}
              onChange={(event) => setBandwidth(event.target.value)}
            />
            {size == null ? (
              <span className="wrong">{t("wrong.size")}</span>
            ) : (
              <span className="help">{t("fleet.bandwidthHelp")}</span>
            )}
          </div>
          {task.type === "S3EC2" && (
            <div className="field">
              <label htmlFor="limit-workers">{t("fleet.processes")}</label>
              <input
                id="limit-workers"
                inputMode="numeric"
                value={workers}
                placeholder={t("fleet.onePerCore")}
                onChange={(event) => setWorkers(event.target.value)}
              />
              <span className="help">{t("fleet.processesHelp")}</span>
            </div>
          )}
        </div>
        <div className="row">
          <Button type="submit" kind="primary" disabled={!good || limit.isPending}>
            {t("fleet.apply")}
          </Button>
          {limit.isSuccess && (
            <span role="status" className="muted">
              {t("fleet.applied")}
            </span>
          )}
        </div>
      </form>
    </Card>
  );
}
