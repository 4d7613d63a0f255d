import { useEffect, useMemo, useState } from "react";
import { Link, useNavigate, useParams, useSearchParams } from "react-router";
import { ask, type HubError } from "../api/ask";
import { GET_PLAN, PLAN_TASK, RUN_TASK, SAVE_TASK, SECRETS } from "../api/questions";
import type { Panel, Plan, Setting, Task, TaskType } from "../api/types";
import { useAsk, useChange, useHub, usePanels, useTask } from "../api/use";
import { byField, given, type Values, wrongEmail, wrongValue } from "../forms/check";
import { DEPLOYMENT, wrongDeployment } from "../forms/deployment";
import { DeploymentFields } from "../forms/deployment-fields";
import { Field, SettingField } from "../forms/field";
import { readSchedule, type Schedule, writeSchedule, wrongSchedule } from "../forms/schedule";
import { ScheduleField } from "../forms/schedule-field";
import { useText } from "../i18n";
import { Alert, Button, Card, Empty, Failed, Loading } from "../ui/parts";
import { CheckSide } from "./check";
import { PlanView } from "./plan";
import { taskName } from "./tasks";

/** Makes a task, changes one (`/tasks/ID/edit`), or starts from a copy (`?from=ID`). */
export function Edit() {
  const { t } = useText();
  const { id = "" } = useParams();
  const [params] = useSearchParams();
  const from = id || params.get("from") || "";
  const { task, error, isPending } = useTask(from, false);
  const type: TaskType = from ? (task?.type ?? "S3EC2") : params.get("type") === "ECR" ? "ECR" : "S3EC2";
  const panels = usePanels(type);
  if (from && !isPending && !task) {
    return (
      <div className="page">
        {error ? (
          <Failed error={error} />
        ) : (
          <Card>
            <Empty page title={t("gone.title")}>
              {t("gone.text")}
            </Empty>
          </Card>
        )}
      </div>
    );
  }
  // A form that is open stays, with all that was typed, when a later look at the catalogue fails.
  if (panels.error && !panels.data)
    return (
      <div className="page">
        <Failed error={panels.error} retry={() => panels.refetch()} />
      </div>
    );
  if ((from && !task) || !panels.data) {
    return (
      <div className="page">
        <section className="card">
          <Loading lines={12} />
        </section>
      </div>
    );
  }
  return <Form key={`${from} ${type}`} panels={panels.data.settings} type={type} there={task ?? null} clone={!id} />;
}

type Draft = {
  name: string;
  description: string;
  email: string;
  schedule: Schedule;
  values: Values;
  deployment: Values;
};

function draftOf(there: Task | null, clone: boolean, copyOf: (name: string) => string): Draft {
  return {
    name: there ? (clone ? copyOf(taskName(there)) : (there.name ?? "")) : "",
    description: decodeURIComponent(there?.description ?? ""),
    email: there?.parameters.find((one) => one.ParameterKey === "alarmEmail")?.ParameterValue ?? "",
    deployment: Object.fromEntries((there?.parameters ?? []).map((one) => [one.ParameterKey, one.ParameterValue])),
    schedule: readSchedule(there?.schedule ?? ""),
    values: Object.fromEntries((there?.settings ?? []).map((one) => [one.name, one.value])),
  };
}

function Form({ panels, type, there, clone }: { panels: Panel[]; type: TaskType; there: Task | null; clone: boolean }) {
  const { t } = useText();
  const go = useNavigate();
  const hub = useHub();
  const [draft, setDraft] = useState(() => draftOf(there, clone, (name) => t("edit.copyOf", { name })));
  const [touched, setTouched] = useState<ReadonlySet<string>>(new Set());
  const [tried, setTried] = useState(false);
  const [refused, setRefused] = useState<HubError | null>(null);
  const [saving, setSaving] = useState(false);
  const plan = usePlan();
  const settings = useMemo(() => panels.flatMap((panel) => panel.settings), [panels]);
  const names = useMemo(() => new Set(settings.map((one) => one.name)), [settings]);
  const editing = there && !clone ? there : null;
  const title = editing ? t("edit.title", { name: taskName(editing) }) : t(`edit.new.${type}`);
  useEffect(() => {
    document.title = title;
  }, [title]);

  const told = refused?.code === "settings" ? byField(refused.message, names) : {};
  const wrongOf = (setting: Setting): string | undefined => {
    if (told[setting.name]) return told[setting.name];
    if (!tried && !touched.has(setting.name)) return undefined;
    const wrong = wrongValue(setting, draft.values);
    return wrong ? t(wrong.key, wrong.values) : undefined;
  };
  const email = wrongEmail(draft.email);
  const good =
    !email &&
    !wrongSchedule(draft.schedule) &&
    draft.description.length <= 250 &&
    DEPLOYMENT[type].every((name) => !wrongDeployment(name, draft.deployment)) &&
    settings.every((one) => !wrongValue(one, draft.values));
  const input = () => ({
    type,
    name: draft.name.trim(),
    description: draft.description,
    schedule: writeSchedule(draft.schedule),
    settings: [
      ...given(settings, draft.values),
      { name: "alarmEmail", value: draft.email },
      ...DEPLOYMENT[type].map((name) => ({ name, value: draft.deployment[name] ?? "" })),
    ],
  });
  const set = (name: string, value: string) => {
    setRefused(null);
    setDraft((old) => ({ ...old, values: { ...old.values, [name]: value } }));
  };
  const attempt = async (what: () => Promise<void>) => {
    setTried(true);
    setRefused(null);
    if (!good) {
      setTimeout(() => document.querySelector<HTMLElement>("[aria-invalid=true]")?.focus());
      return;
    }
    setSaving(true);
    try {
      await what();
    } catch (error) {
      setRefused(error as HubError);
    } finally {
      setSaving(false);
    }
  };
  const save = (run: boolean, planId?: string) =>
    attempt(async () => {
      const where = editing ? { id: editing.id, revision: editing.revision } : {};
      const { saveTask } = await ask<{ saveTask: { id: string } }>(SAVE_TASK, {
        input: input(),
        run: run && !planId,
        ...where,
      });
      if (planId) await ask(RUN_TASK, { id: saveTask.id, planId });
      go(`/tasks/${saveTask.id}`);
    });
  const stale = refused?.code === "stale";
  const scheduled = draft.schedule.kind !== "manual";
  return (
    <form
      className="page"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        save(true);
      }}
    >
      <header>
        <div className="titles">
          <div className="crumbs">
            <Link to="/">{t("nav.tasks")}</Link>
            {editing && (
              <>
                {" / "}
                <Link to={`/tasks/${editing.id}`}>{taskName(editing)}</Link>
              </>
            )}
          </div>
          <h1>{title}</h1>
        </div>
        {!there && (
          <div className="segmented" role="radiogroup" aria-label={t("tasks.type")}>
            {(["S3EC2", "ECR"] as const).map((one) => (
              <label key={one}>
                <input
                  type="radio"
                  name="type"
                  checked={type === one}
                  onChange={() => go(`/tasks/new?type=${one}`, { replace: true })}
                />
                {t(`type.${one}`)}
              </label>
            ))}
          </div>
        )}
      </header>
      <div className="editor">
        <div className="stack">
          {panels.map((panel) => (
            <PanelCard
              key={panel.name}
              panel={panel}
              type={type}
              values={draft.values}
              wrongOf={wrongOf}
              onChange={set}
              onLeave={(name) => setTouched((old) => new Set(old).add(name))}
              all={settings}
            />
          ))}
          <Card title={t("edit.when")}>
            <ScheduleField
              value={draft.schedule}
              shown={true}
              onChange={(schedule) => setDraft((old) => ({ ...old, schedule }))}
            />
          </Card>
          <Card title={t("edit.about")}>
            <div className="fields">
              <Field label={t("edit.name")} help={t("edit.nameHelp")} optional>
                {(ids) => (
                  <input
                    {...ids}
                    maxLength={200}
                    value={draft.name}
                    onChange={(event) => setDraft((old) => ({ ...old, name: event.target.value }))}
                  />
                )}
              </Field>
              <Field
                label={t("edit.email")}
                help={t("edit.emailHelp")}
                optional
                wrong={email && (tried || touched.has("email")) ? t(email.key) : undefined}
              >
                {(ids) => (
                  <input
                    {...ids}
                    type="email"
                    value={draft.email}
                    onBlur={() => setTouched((old) => new Set(old).add("email"))}
                    onChange={(event) => setDraft((old) => ({ ...old, email: event.target.value }))}
                  />
                )}
              </Field>
              <Field
                label={t("edit.description")}
                help={t("edit.descriptionHelp", { n: 250 - draft.description.length })}
                wide
                optional
              >
                {(ids) => (
                  <textarea
                    {...ids}
                    rows={2}
                    maxLength={250}
                    value={draft.description}
                    onChange={(event) => setDraft((old) => ({ ...old, description: event.target.value }))}
                  />
                )}
              </Field>
            </div>
          </Card>
          <DeploymentFields
            type={type}
            values={draft.deployment}
            tried={tried}
            onChange={(name, value) =>
              setDraft((old) => ({ ...old, deployment: { ...old.deployment, [name]: value } }))
            }
          />
        </div>
        <aside className="stack" aria-label={t("plan.title")}>
          <Card title={t("plan.title")}>
            <div className="stack">
              {!plan.plan && <p className="muted">{t("plan.text")}</p>}
              {plan.error && <Failed error={plan.error} />}
              {plan.plan && (
                <PlanView plan={plan.plan}>
                  {plan.plan.state === "READY" &&
                    plan.plan.copies > 0 &&
                    type === "S3EC2" &&
                    draft.values["delete"] !== "true" && (
                      <Button
                        icon="play"
                        disabled={saving || hub?.canWrite === false}
                        onClick={() => save(true, plan.plan?.id)}
                      >
                        {t("plan.exactly")}
                      </Button>
                    )}
                </PlanView>
              )}
              <Button
                icon="again"
                disabled={plan.busy || hub?.canWrite === false}
                onClick={() => attempt(() => plan.begin(input()))}
              >
                {plan.busy ? t("plan.busy") : plan.plan ? t("plan.again") : t("plan.do")}
              </Button>
            </div>
          </Card>
          <Card>
            <div className="stack">
              {tried && !good && (
                <Alert tone="bad" title={t("edit.wrong")}>
                  {t("edit.wrongText")}
                </Alert>
              )}
              {refused && stale && (
                <Alert
                  tone="warn"
                  title={t("edit.stale")}
                  action={<Button onClick={() => go(0)}>{t("edit.reload")}</Button>}
                >
                  {t("edit.staleText")}
                </Alert>
              )}
              {refused && !stale && (
                <Failed
                  error={
                    refused.code === "settings" ? { message: told[""] || t("edit.wrong"), hint: refused.hint } : refused
                  }
                />
              )}
              <Button type="submit" kind="primary" disabled={saving || hub?.canWrite === false}>
                {scheduled ? t("edit.saveSchedule") : t("edit.saveRun")}
              </Button>
              <Button disabled={saving || hub?.canWrite === false} onClick={() => save(false)}>
                {t("edit.save")}
              </Button>
              <Link className="btn quiet" to={editing ? `/tasks/${editing.id}` : "/"}>
                {t("cancel")}
              </Link>
            </div>
          </Card>
        </aside>
      </div>
    </form>
  );
}

function usePlan() {
  const begin = useChange<{ planTask: Plan }>(PLAN_TASK);
  const id = begin.data?.planTask.id ?? "";
  const asked = useAsk<{ plan: Plan | null }>(GET_PLAN, { id }, { enabled: id !== "", poll: true });
  const plan = asked.data?.plan ?? begin.data?.planTask;
  return {
    plan,
    error: begin.error,
    busy: begin.isPending || plan?.state === "LISTING",
    begin: async (input: unknown) => {
      await begin.mutateAsync({ input });
    },
  };
}

type PanelProps = {
  panel: Panel;
  type: TaskType;
  values: Values;
  all: Setting[];
  wrongOf: (setting: Setting) => string | undefined;
  onChange: (name: string, value: string) => void;
  onLeave: (name: string) => void;
};

function PanelCard({ panel, type, values, all, wrongOf, onChange, onLeave }: PanelProps) {
  const { t, phrase } = useText();
  const hub = useHub();
  const secrets =
    useAsk<{ listSecrets: { name: string; description: string | null }[] }>(SECRETS, {}, { stale: 30_000 }).data
      ?.listSecrets ?? [];
  const side = panel.name === "Source" ? "source" : panel.name === "Destination" ? "destination" : null;
  const spelt = side === "source" ? "src_" : "dest_";
  const profiles = secrets.filter((one) => one.description === "AWS profile").map((one) => one.name);
  const suggestions = (setting: Setting): string[] => {
    if (setting.kind === "REGION") return hub?.regions ?? [];
    if (setting.name.endsWith("_profile")) return profiles;
    return setting.kind === "CREDENTIAL" ? secrets.map((one) => one.name).filter((one) => !profiles.includes(one)) : [];
  };
  const field = (setting: Setting) => (
    <SettingField
      key={setting.name}
      setting={setting}
      value={values[setting.name] ?? ""}
      wrong={wrongOf(setting)}
      suggestions={suggestions(setting)}
      onChange={(value) => onChange(setting.name, value)}
      onLeave={() => onLeave(setting.name)}
    />
  );
  const plain = panel.settings.filter((one) => !one.advanced);
  const advanced = panel.settings.filter((one) => one.advanced);
  const open = advanced.some((one) => wrongOf(one) !== undefined || values[one.name]);
  const own = () => given(all, values).filter((one) => one.name.startsWith(spelt));
  const bucket = all.find((one) => one.name === `${spelt}bucket`);
  return (
    <Card title={phrase(panel.name)}>
      <div className="stack">
        {plain.length > 0 && <div className="fields">{plain.map(field)}</div>}
        {advanced.length > 0 && (
          <details className="more" open={open || undefined}>
            <summary>{t("edit.advanced", { n: advanced.length })}</summary>
            <div className="fields">{advanced.map(field)}</div>
          </details>
        )}
        {side && type === "S3EC2" && hub?.canWrite !== false && (
          <CheckSide side={side} values={own} disabled={!bucket || wrongValue(bucket, values) != null} />
        )}
      </div>
    </Card>
  );
}
