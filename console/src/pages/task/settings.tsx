import { Link } from "react-router";
import { REVISIONS, SPELLINGS } from "../../api/questions";
import type { Revision, Spellings, Task } from "../../api/types";
import { useAsk, useHub, usePanels } from "../../api/use";
import { useText } from "../../i18n";
import { When } from "../../ui/numbers";
import { Card, Code, Empty, Loading } from "../../ui/parts";

/** What the task was told: only what differs from the defaults, and the same as a command and as a job file. */
export function SettingsOf({ task }: { task: Task }) {
  const { t, setting } = useText();
  const hub = useHub();
  const panels = usePanels(task.type).data?.settings;
  const known = new Map(panels?.flatMap((panel) => panel.settings).map((one) => [one.name, one]));
  const description = decodeURIComponent(task.description ?? "");
  const spelt = useAsk<{ spellings: Spellings }>(SPELLINGS, { taskId: task.id }).data?.spellings;
  return (
    <div className="grid2">
      <Card title={t("settings.about")}>
        <dl className="facts">
          <dt>{t("edit.name")}</dt>
          <dd>{task.name || "–"}</dd>
          <dt>{t("edit.description")}</dt>
          <dd>{description || "–"}</dd>
          <dt>{t("edit.schedule")}</dt>
          <dd>{task.schedule || t("schedule.manual")}</dd>
          <dt>{t("settings.revision")}</dt>
          <dd>{task.revision}</dd>
          <dt>{t("settings.created")}</dt>
          <dd>
            <When at={task.createdAt} />
          </dd>
          <dt>{t("settings.id")}</dt>
          <dd className="mono">{task.id}</dd>
        </dl>
      </Card>
      <Card
        title={t("settings.changed")}
        actions={
          hub?.canWrite !== false ? (
            <Link className="btn" to={`/tasks/${task.id}/edit`}>
              {t("do.edit")}
            </Link>
          ) : undefined
        }
      >
        {!panels && <Loading />}
        {panels && task.settings.length === 0 && <Empty title={t("settings.none")} />}
        <dl className="facts">
          {panels &&
            task.settings.map((one) => {
              const about = known.get(one.name);
              const [title, help] = about ? setting(one.name, about.title, about.help) : [one.name, ""];
              return (
                <div key={one.name} style={{ display: "contents" }}>
                  <dt title={help}>
                    {title} <code className="small">{one.name}</code>
                  </dt>
                  <dd>{one.value}</dd>
                </div>
              );
            })}
        </dl>
      </Card>
      {spelt?.command && (
        <Card title={t("settings.command")}>
          <Code text={spelt.command} />
        </Card>
      )}
      {spelt && (
        <Card title={t("settings.file")}>
          <Code text={spelt.jobFile} />
        </Card>
      )}
      {spelt && (
        <Card title={t("settings.template")}>
          <Code text={spelt.template} />
        </Card>
      )}
      <History task={task} titleOf={(name) => setting(name, known.get(name)?.title ?? name, "")[0]} />
    </div>
  );
}

function History({ task, titleOf }: { task: Task; titleOf: (name: string) => string }) {
  const { t } = useText();
  const asked = useAsk<{ revisions: { items: Revision[] } }>(REVISIONS, { taskId: task.id });
  return (
    <Card title={t("settings.history")}>
      {asked.isPending && <Loading />}
      <ul className="stack" style={{ listStyle: "none" }}>
        {asked.data?.revisions.items.map((one) => (
          <li key={one.revision} className="stack tight">
            <div className="row">
              <strong>{one.revision}</strong>
              <When at={one.savedAt} seconds />
            </div>
            {one.revision === 1 && <span className="muted">{t("settings.first")}</span>}
            {one.revision > 1 &&
              one.changes.map((change) => (
                <div key={change.name}>
                  {titleOf(change.name)}: <strong>{change.after ?? t("settings.unset")}</strong>{" "}
                  <span className="muted">
                    ({t("settings.was")} {change.before ?? t("settings.unset")})
                  </span>
                </div>
              ))}
          </li>
        ))}
      </ul>
    </Card>
  );
}
