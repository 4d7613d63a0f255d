import { useState } from "react";
import { SERIES } from "../../api/questions";
import type { Run, Series, Task } from "../../api/types";
import { useAsk } from "../../api/use";
import { useText } from "../../i18n";
import { Bars, Chart } from "../../ui/chart";
import { Card } from "../../ui/parts";

const SPANS = [0, 3600, 12 * 3600, 86_400, 7 * 86_400];
const GAUGES: ReadonlySet<string> = new Set(["WAITING", "IN_HAND", "LAG", "COST"]);

/** The newest run's course in charts. Lag and cost are drawn where they are known. */
export function Figures({ task }: { task: Task }) {
  const { t, rate, count, duration, money } = useText();
  const [span, setSpan] = useState(0);
  const [now] = useState(() => Date.now());
  const names = ["BYTES", "OBJECTS", "FAILED", "THROTTLED", "WAITING", "IN_HAND", "LAG", "COST"];
  const from = span ? new Date(now - span * 1000).toISOString() : null;
  const asked = useAsk<{ series: Series[] }>(SERIES, { taskId: task.id, names, from }, { poll: true, keep: true });
  const drawn = (name: string) => asked.data?.series.find((one) => one.name === name)?.v ?? [];
  const watched = drawn("WAITING");
  // Rates of zero are not kept: where the queue was looked at and no rate is there, nothing moved.
  const of = (name: string) =>
    GAUGES.has(name) ? drawn(name) : drawn(name).map((value, place) => value ?? (watched[place] == null ? null : 0));
  const times = asked.data?.series[0]?.t ?? [];
  const objects = (value: number) => count(Math.round(value * 10) / 10);
  const known = (name: string) => of(name).some((one) => one != null);
  const throttled = of("THROTTLED");
  const marks = throttled.some((one) => one) ? { marks: { label: t("chart.throttled"), values: throttled } } : {};
  return (
    <Card
      title={t("chart.title")}
      actions={
        <select
          aria-label={t("chart.span")}
          style={{ width: "auto" }}
          value={span}
          onChange={(event) => setSpan(Number(event.target.value))}
        >
          {SPANS.map((one) => (
            <option key={one} value={one}>
              {t(`span.${one as 0}`)}
            </option>
          ))}
        </select>
      }
    >
      <div className="grid2">
        <Chart
          title={t("chart.bytes")}
          t={times}
          scale="bytes"
          show={(value) => rate(value)}
          lines={[{ label: t("chart.rate"), color: "var(--accent-fill)", values: of("BYTES"), area: true }]}
          {...marks}
        />
        <Chart
          title={t("chart.objects")}
          t={times}
          show={(value) => `${objects(value)}/s`}
          lines={[{ label: t("chart.ended"), color: "var(--ok-fill)", values: of("OBJECTS"), area: true }]}
          marks={{ label: t("chart.failed"), values: of("FAILED") }}
        />
        <Chart
          title={t("chart.queue")}
          t={times}
          scale="whole"
          show={objects}
          lines={[
            { label: t("chart.waiting"), color: "var(--accent-fill)", values: of("WAITING") },
            { label: t("chart.inHand"), color: "var(--teal-fill)", values: of("IN_HAND") },
          ]}
        />
        {known("LAG") && (
          <Chart
            title={t("chart.lag")}
            t={times}
            show={duration}
            lines={[{ label: t("chart.behind"), color: "var(--accent-fill)", values: of("LAG"), area: true }]}
          />
        )}
        {known("COST") && (
          <Chart
            title={t("chart.cost")}
            t={times}
            show={money}
            lines={[{ label: t("chart.spent"), color: "var(--teal-fill)", values: of("COST"), area: true }]}
          />
        )}
        <Outcomes run={task.latest} />
      </div>
    </Card>
  );
}

function Outcomes({ run }: { run: Run | null }) {
  const { t, exact, phrase } = useText();
  if (!run) return null;
  const rows = run.reasons.map((one) => ({ label: phrase(one.label), value: one.count }));
  return (
    <div className="stack tight">
      <h3>{t("overview.reasons")}</h3>
      {rows.length > 0 ? (
        <Bars rows={rows.slice(0, 6)} show={exact} />
      ) : (
        <p className="muted">{t("overview.noReasons")}</p>
      )}
    </div>
  );
}
