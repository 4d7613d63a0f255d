import { useText } from "../i18n";
import { Field } from "./field";
import { HERE, type Schedule, wrongSchedule, zones } from "./schedule";

const FIRST: Record<Schedule["kind"], () => Schedule> = {
  manual: () => ({ kind: "manual" }),
  once: () => ({ kind: "once", at: "", zone: HERE }),
  every: () => ({ kind: "every", count: "1", unit: "hours" }),
  cron: () => ({ kind: "cron", fields: "0 3 * * *", zone: HERE }),
};

/** When the task runs. */
export function ScheduleField({
  value,
  shown,
  onChange,
}: {
  value: Schedule;
  shown: boolean;
  onChange: (value: Schedule) => void;
}) {
  const { t } = useText();
  const wrong = shown ? wrongSchedule(value) : null;
  const words = wrong ? t(wrong.key, wrong.values) : undefined;
  return (
    <div className="stack">
      <div className="segmented" role="radiogroup" aria-label={t("edit.schedule")}>
        {(Object.keys(FIRST) as Schedule["kind"][]).map((kind) => (
          <label key={kind}>
            <input
              type="radio"
              name="schedule"
              checked={value.kind === kind}
              onChange={() => onChange(FIRST[kind]())}
            />
            {t(`schedule.${kind}`)}
          </label>
        ))}
      </div>
      {value.kind === "manual" && <p className="muted">{t("schedule.manualText")}</p>}
      <div className="fields">
        {value.kind === "every" && (
          <Field label={t("schedule.interval")} help={t("schedule.intervalHelp")} wrong={words}>
            {(ids) => (
              <span className="row" style={{ flexWrap: "nowrap" }}>
                <input
                  {...ids}
                  inputMode="numeric"
                  value={value.count}
                  onChange={(event) => onChange({ ...value, count: event.target.value })}
                  style={{ width: 90 }}
                />
                <select
                  aria-label={t("schedule.unit")}
                  value={value.unit}
                  onChange={(event) => onChange({ ...value, unit: event.target.value as "hours" })}
                >
                  {(["minutes", "hours", "days"] as const).map((unit) => (
                    <option key={unit} value={unit}>
                      {t(`unit.${unit}`)}
                    </option>
                  ))}
                </select>
              </span>
            )}
          </Field>
        )}
        {value.kind === "once" && (
          <Field label={t("schedule.at")} wrong={words}>
            {(ids) => (
              <input
                {...ids}
                type="datetime-local"
                value={value.at}
                onChange={(event) => onChange({ ...value, at: event.target.value })}
              />
            )}
          </Field>
        )}
        {value.kind === "cron" && (
          <Field label={t("schedule.fields")} help={t("schedule.fieldsHelp")} wrong={words}>
            {(ids) => (
              <input
                {...ids}
                className="mono"
                value={value.fields}
                spellCheck={false}
                onChange={(event) => onChange({ ...value, fields: event.target.value })}
              />
            )}
          </Field>
        )}
        {(value.kind === "once" || value.kind === "cron") && (
          <Field label={t("schedule.zone")}>
            {(ids) => (
              <select
                {...ids}
                value={value.zone}
                onChange={(event) => onChange({ ...value, zone: event.target.value })}
              >
                {[...new Set([value.zone, ...zones()])].map((zone) => (
                  <option key={zone}>{zone}</option>
                ))}
              </select>
            )}
          </Field>
        )}
      </div>
    </div>
  );
}
