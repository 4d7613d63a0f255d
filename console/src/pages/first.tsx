import { Link, useNavigate } from "react-router";
import { START_DEMO } from "../api/questions";
import { useChange, useHub } from "../api/use";
import { useText } from "../i18n";
import { Button, Failed } from "../ui/parts";

/** What a hub without tasks shows. */
export function First() {
  const { t } = useText();
  const hub = useHub();
  const go = useNavigate();
  const demo = useChange<{ startDemo: { id: string } }>(START_DEMO);
  const begin = () =>
    demo.mutateAsync({}).then(
      ({ startDemo }) => go(`/tasks/${startDemo.id}`), // this page may be gone by then: the list has the task first
      () => undefined, // shown below
    );
  return (
    <div className="page">
      <section className="card hero">
        <div className="stack">
          <h1>{t("first.title")}</h1>
          <p>{t("first.text")}</p>
          {demo.error && <Failed error={demo.error} />}
          {hub?.canWrite !== false && (
            <div className="row">
              {hub?.demo && (
                <Button kind="primary" icon="play" disabled={demo.isPending} onClick={begin}>
                  {t("first.demo")}
                </Button>
              )}
              <Link className={hub?.demo ? "btn" : "btn primary"} to="/tasks/new">
                {t("first.objects")}
              </Link>
              <Link className="btn" to="/tasks/new?type=ECR">
                {t("first.images")}
              </Link>
            </div>
          )}
        </div>
        <ol className="steps">
          {(["check", "plan", "run", "prove"] as const).map((step) => (
            <li key={step}>
              <strong>{t(`first.${step}`)}</strong>
              <span className="muted">{t(`first.${step}Text`)}</span>
            </li>
          ))}
        </ol>
      </section>
    </div>
  );
}
