import type { TaskType } from "../api/types";
import { useText } from "../i18n";
import { Card } from "../ui/parts";
import type { Values } from "./check";
import { DEPLOYMENT, type Name, wrongDeployment } from "./deployment";
import { Field } from "./field";

const MEMORIES = ["8", "16", "32", "64", "128", "256", "384", "512"];

/** The parameters as a card that is closed until one of them has a value. */
export function DeploymentFields({
  type,
  values,
  tried,
  onChange,
}: {
  type: TaskType;
  values: Values;
  tried: boolean;
  onChange: (name: string, value: string) => void;
}) {
  const { t } = useText();
  const names: readonly Name[] = DEPLOYMENT[type];
  const open = names.some((name) => values[name]);
  return (
    <Card title={t("deployment.title")}>
      <details className="more" open={open || undefined}>
        <summary>{t("deployment.open")}</summary>
        <p className="muted small">{t("deployment.text")}</p>
        <div className="fields">
          {names.map((name) => {
            const wrong = wrongDeployment(name, values);
            return (
              <Field
                key={name}
                label={t(`deployment.${name}`)}
                help={<code>{name}</code>}
                wrong={wrong && (tried || open) ? t(wrong.key) : undefined}
              >
                {(ids) =>
                  name === "finderEc2Memory" ? (
                    <select
                      {...ids}
                      value={values[name] ?? ""}
                      onChange={(event) => onChange(name, event.target.value)}
                    >
                      <option value="">{t("settings.unset")}</option>
                      {MEMORIES.map((one) => (
                        <option key={one}>{one}</option>
                      ))}
                    </select>
                  ) : (
                    <input
                      {...ids}
                      inputMode={name.endsWith("Capacity") ? "numeric" : undefined}
                      value={values[name] ?? ""}
                      onChange={(event) => onChange(name, event.target.value.trim())}
                    />
                  )
                }
              </Field>
            );
          })}
        </div>
      </details>
    </Card>
  );
}
