import { useState } from "react";
import { CHECK_LOCATION, GET_CHECK } from "../api/questions";
import type { Check } from "../api/types";
import { useAsk, useChange } from "../api/use";
import { useText } from "../i18n";
import { Icon } from "../ui/icons";
import { Alert, Button, Code, Failed } from "../ui/parts";

/** Asks one side's store what it can do, and shows what is missing. */
export function CheckSide({
  side,
  values,
  disabled,
}: {
  side: "source" | "destination";
  values: () => { name: string; value: string }[];
  disabled: boolean;
}) {
  const { t, phrase, cause, question, lang } = useText();
  const begin = useChange<{ checkLocation: Check }>(CHECK_LOCATION);
  const [write, setWrite] = useState(false);
  const id = begin.data?.checkLocation.id ?? "";
  const asked = useAsk<{ check: Check | null }>(GET_CHECK, { id }, { enabled: id !== "", poll: true });
  const check = asked.data?.check ?? begin.data?.checkLocation;
  const busy = begin.isPending || check?.state === "LISTING";
  return (
    <div className="stack">
      <div className="row">
        <Button
          icon="check"
          disabled={disabled || busy}
          onClick={() => begin.mutate({ input: { side, values: values(), write } })}
        >
          {busy ? t("check.busy") : t("check.do")}
        </Button>
        {side === "destination" && (
          <span className="check">
            <input
              id="check-write"
              type="checkbox"
              checked={write}
              onChange={(event) => setWrite(event.target.checked)}
            />
            <label htmlFor="check-write" style={{ fontWeight: 400 }}>
              {t("check.write")}
            </label>
          </span>
        )}
      </div>
      {begin.error && <Failed error={begin.error} />}
      {check && check.findings.length > 0 && (
        <ul className="findings" aria-label={t("check.findings")}>
          {check.findings.map((one) => (
            <li key={one.name} style={{ color: one.ok ? "var(--ok)" : "var(--bad)" }}>
              <span style={{ marginTop: 2 }}>
                <Icon name={one.ok ? "check" : "cross"} />
              </span>
              <span style={{ color: "var(--text)" }}>
                {question(one.name, one.question)} <strong>{phrase(one.answer)}</strong>
                {one.code && lang !== "en" && <span className="small"> {cause(one.code, "", "").join("。")}</span>}
                {one.hint && (lang === "en" || one.code) && <span className="muted small"> {one.hint}</span>}
              </span>
            </li>
          ))}
        </ul>
      )}
      {check?.state === "READY" && check.findings.every((one) => one.ok) && <Alert tone="ok" title={t("check.good")} />}
      {check?.policy && (
        <div className="stack tight">
          <h3>{t("check.policy")}</h3>
          <Code text={check.policy} />
        </div>
      )}
    </div>
  );
}
