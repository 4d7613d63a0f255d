import { useEffect } from "react";
import { Link } from "react-router";
import { LOCATIONS, SECRETS, TASKS } from "../api/questions";
import type { Place, SavedLocation, TaskPage, TaskRow } from "../api/types";
import { useAsk } from "../api/use";
import { useText } from "../i18n";
import { When } from "../ui/numbers";
import { Badge, Card, Empty, Failed, Loading } from "../ui/parts";
import { taskName } from "./tasks";

type Store = { place: Place; reads: TaskRow[]; writes: TaskRow[] };

/** Which places the tasks name, and what opens them. */
export function Stores() {
  const { t, phrase } = useText();
  const secrets = useAsk<{ listSecrets: { name: string; description: string | null }[] }>(SECRETS);
  const tasks = useAsk<{ tasks: TaskPage }>(TASKS, { filter: {}, sort: "NAME", limit: 200, after: null });
  useEffect(() => {
    document.title = t("stores.title");
  }, [t]);
  const saved = useAsk<{ locations: SavedLocation[] }>(LOCATIONS).data?.locations ?? [];
  const stores = placesOf(tasks.data?.tasks.items ?? []);
  return (
    <div className="page">
      <header>
        <div className="titles">
          <h1>{t("stores.title")}</h1>
          <p className="muted">{t("stores.text")}</p>
        </div>
      </header>
      {(secrets.error ?? tasks.error) && (
        <Failed error={(secrets.error ?? tasks.error) as Error} retry={() => tasks.refetch()} />
      )}
      <Card title={t("stores.places")} bare>
        {tasks.isPending && <Loading />}
        {tasks.data && stores.length === 0 && <Empty title={t("stores.none")}>{t("stores.noneText")}</Empty>}
        {stores.length > 0 && (
          <div className="table-wrap">
            <table>
              <thead>
                <tr>
                  <th>{t("stores.place")}</th>
                  <th>{t("stores.kind")}</th>
                  <th>{t("stores.region")}</th>
                  <th>{t("stores.opens")}</th>
                  <th>{t("stores.checked")}</th>
                  <th>{t("stores.users")}</th>
                </tr>
              </thead>
              <tbody>
                {stores.map((store) => (
                  <tr key={`${store.place.endpoint} ${store.place.bucket} ${store.place.credential}`}>
                    <td>
                      <strong>{store.place.bucket}</strong>
                      <div className="small muted">{store.place.endpoint}</div>
                    </td>
                    <td>{phrase(store.place.provider.replaceAll("_", " "))}</td>
                    <td>{store.place.region ?? "–"}</td>
                    <td>
                      {store.place.profile
                        ? t("stores.profile", { name: store.place.profile })
                        : (store.place.credential ?? t("stores.ambient"))}
                    </td>
                    <td>
                      <LastCheck place={store.place} saved={saved} />
                    </td>
                    <td>
                      <Users tasks={store.reads} label={t("source")} />
                      <Users tasks={store.writes} label={t("destination")} />
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Card>
      <Card title={t("stores.credentials")} bare>
        {secrets.isPending && <Loading />}
        {secrets.data && (
          <div className="table-wrap">
            <table>
              <thead>
                <tr>
                  <th>{t("stores.name")}</th>
                  <th>{t("stores.what")}</th>
                </tr>
              </thead>
              <tbody>
                {secrets.data.listSecrets.map((one) => (
                  <tr key={one.name}>
                    <td>
                      <strong>{one.name}</strong>
                    </td>
                    <td className="muted">{phrase(one.description ?? "–")}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
        <div className="foot muted small">{t("stores.keys")}</div>
      </Card>
    </div>
  );
}

function LastCheck({ place, saved }: { place: Place; saved: SavedLocation[] }) {
  const { t } = useText();
  const last = saved
    .filter((one) =>
      ["endpoint", "bucket", "credential"].every((name) => one.location[name as "bucket"] === place[name as "bucket"]),
    )
    .flatMap((one) => (one.lastCheck ? [one.lastCheck] : []))
    .sort((one, other) => other.at.localeCompare(one.at))[0];
  if (!last) return <span className="muted">{t("stores.never")}</span>;
  return (
    <>
      <Badge tone={last.ok ? "ok" : "bad"}>{t(last.ok ? "stores.good" : "stores.bad")}</Badge>
      <div className="small muted">
        <When at={last.at} />
      </div>
    </>
  );
}

function Users({ tasks, label }: { tasks: TaskRow[]; label: string }) {
  if (tasks.length === 0) return null;
  return (
    <div>
      <span className="muted">{label}: </span>
      {tasks.slice(0, 5).map((task, place) => (
        <span key={task.id}>
          {place > 0 && ", "}
          <Link to={`/tasks/${task.id}`}>{taskName(task)}</Link>
        </span>
      ))}
      {tasks.length > 5 && <span className="muted"> +{tasks.length - 5}</span>}
    </div>
  );
}

/** Each place once, with the tasks that read and write there. */
export function placesOf(tasks: TaskRow[]): Store[] {
  const found = new Map<string, Store>();
  const add = (place: Place | null, side: "reads" | "writes", task: TaskRow) => {
    if (!place) return;
    const name = `${place.endpoint}\n${place.bucket}\n${place.credential}`;
    const store = found.get(name) ?? { place, reads: [], writes: [] };
    store[side].push(task);
    found.set(name, store);
  };
  for (const task of tasks) {
    add(task.source, "reads", task);
    add(task.destination, "writes", task);
  }
  return [...found.values()];
}
