import { Link } from "react-router";
import type { Task } from "../../api/types";
import { useHub, usePanels } from "../../api/use";
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
  const file = JSON.stringify(Object.fromEntries(task.settings.map((one) => [one.name, one.value])), null, 2);
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
      {task.command && (
        <Card title={t("settings.command")}>
          <Code text={task.command} />
        </Card>
      )}
      <Card title={t("settings.file")}>
        <Code text={file} />
      </Card>
    </div>
  );
}
