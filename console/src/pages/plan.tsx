import type { ReactNode } from "react";
import type { Plan } from "../api/types";
import { useText } from "../i18n";
import { Bars } from "../ui/chart";
import { Count, KeyText, Size } from "../ui/numbers";
import { Alert, Rich } from "../ui/parts";

/** What a run would do. */
export function PlanView({ plan, children }: { plan: Plan; children?: ReactNode }) {
  const { t, exact, money, duration, moment, phrase, cause, notice, unpriced } = useText();
  const listing = plan.state === "LISTING";
  return (
    <div className="stack" aria-busy={listing}>
      {listing && (
        <p className="muted">
          {t("plan.listing", { source: exact(plan.listed.source), destination: exact(plan.listed.destination) })}
        </p>
      )}
      {plan.error && <PlanError plan={plan} />}
      {!plan.error && (
        <>
          <dl className="stats">
            <div>
              <dt>{t("plan.copies")}</dt>
              <dd>
                <Count value={plan.copies} />
              </dd>
            </div>
            <div>
              <dt>{t("plan.bytes")}</dt>
              <dd>
                <Size value={plan.bytes} />
              </dd>
            </div>
            <div>
              <dt>{t("plan.deletes")}</dt>
              <dd style={plan.deletes ? { color: "var(--bad)" } : {}}>
                <Count value={plan.deletes} />
              </dd>
            </div>
            <div>
              <dt>{t("plan.time")}</dt>
              <dd>{duration(plan.secondsAtRate)}</dd>
            </div>
            <div>
              <dt>{t("plan.cost")}</dt>
              <dd>{money(plan.cost?.usd)}</dd>
            </div>
          </dl>
          {plan.state === "READY" && plan.copies === 0 && plan.deletes === 0 && (
            <Alert tone="ok" title={t("plan.nothing")} />
          )}
          {plan.deletes > 0 && (
            <Alert tone="bad" title={t("plan.deletesTitle", { n: plan.deletes })}>
              {t("plan.deletesText")}
            </Alert>
          )}
          {plan.warnings.map((one) => {
            const [title, text] = notice(one, cause(one.code, one.title, ""));
            return (
              <Alert key={`${one.code} ${one.detail}`} tone="warn" title={title}>
                {text}
              </Alert>
            );
          })}
          {plan.reasons.length > 0 && (
            <div className="stack tight">
              <h3>{t("plan.reasons")}</h3>
              <Bars rows={plan.reasons.map((one) => ({ label: phrase(one.label), value: one.count }))} show={exact} />
            </div>
          )}
          {plan.sizes.length > 0 && (
            <div className="stack tight">
              <h3>{t("plan.sizes")}</h3>
              <Bars
                rows={plan.sizes.map((one) => ({ label: phrase(one.label), value: one.count }))}
                show={exact}
                color="var(--teal-fill)"
              />
            </div>
          )}
          {plan.samples.length > 0 && (
            <details className="more">
              <summary>{t("plan.samples")}</summary>
              <ul className="stack tight small" style={{ listStyle: "none" }}>
                {plan.samples.slice(0, 20).map((one) => (
                  <li key={`${one.action} ${one.key}`} style={one.action === "delete" ? { color: "var(--bad)" } : {}}>
                    <KeyText value={one.action === "delete" ? one.destKey : one.key} />{" "}
                    <span className="muted">{phrase(one.reason.replaceAll("_", " "))}</span>
                  </li>
                ))}
              </ul>
            </details>
          )}
          {plan.cost && (
            <p className="small muted">
              {t("cost.line", {
                requests: money(plan.cost.requestsUsd),
                egress: money(plan.cost.egressUsd),
                of: moment(plan.cost.pricesOf),
              })}{" "}
              {plan.cost.notPriced.length > 0 &&
                t("cost.notPriced", { what: unpriced(plan.cost.missing, plan.cost.notPriced) })}
            </p>
          )}
        </>
      )}
      {children}
    </div>
  );
}

/** Why there is no plan: what the code means and what to do, and the words of whoever refused. */
function PlanError({ plan }: { plan: Plan }) {
  const { cause } = useText();
  const [title, hint] = cause(plan.errorCode ?? "", plan.error ?? "", "");
  return (
    <Alert tone="bad" title={title}>
      {hint && <Rich text={hint} />}
      {title !== plan.error && <div className="muted">{plan.error}</div>}
    </Alert>
  );
}
