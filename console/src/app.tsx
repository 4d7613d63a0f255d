import { lazy, Suspense, useEffect } from "react";
import { Link, Route, Routes, useLocation } from "react-router";
import { useHub } from "./api/use";
import { type Key, useText } from "./i18n";
import { Tasks } from "./pages/tasks";
import { type Prefs, setPrefs, usePrefs } from "./prefs";
import { useWay } from "./session";
import { Icon } from "./ui/icons";
import { Badge, Loading, Menu, NotThere } from "./ui/parts";

const TaskPage = lazy(() => import("./pages/task").then((page) => ({ default: page.TaskPage })));
const Edit = lazy(() => import("./pages/edit").then((page) => ({ default: page.Edit })));
const Stores = lazy(() => import("./pages/stores").then((page) => ({ default: page.Stores })));

export function App() {
  const { t } = useText();
  const { pathname } = useLocation();
  const hub = useHub();
  // biome-ignore lint/correctness/useExhaustiveDependencies: a new page begins at its top
  useEffect(() => {
    window.scrollTo(0, 0); // its result is a promise in newer browsers, and no clean-up
  }, [pathname]);
  return (
    <>
      <a className="skip" href="#content">
        {t("skip")}
      </a>
      <header className="top">
        <Link to="/" className="brand">
          <img src="/favicon.svg" alt="" />
          {t("brand")}
        </Link>
        <nav aria-label={t("nav")}>
          <Link to="/" aria-current={pathname === "/" || pathname.startsWith("/tasks") ? "page" : undefined}>
            {t("nav.tasks")}
          </Link>
          <Link to="/stores" aria-current={pathname.startsWith("/stores") ? "page" : undefined}>
            {t("nav.stores")}
          </Link>
        </nav>
        <span className="space" />
        {hub && !hub.canWrite && <Badge tone="warn">{t("readOnly")}</Badge>}
        <Look />
      </header>
      <Offline />
      <main id="content" tabIndex={-1} style={{ outline: "none" }}>
        <Suspense
          fallback={
            <div className="page">
              <section className="card">
                <Loading lines={8} />
              </section>
            </div>
          }
        >
          <Routes>
            <Route path="/" element={<Tasks />} />
            <Route path="/tasks/new" element={<Edit />} />
            <Route path="/tasks/:id/edit" element={<Edit />} />
            <Route path="/tasks/:id/:tab?" element={<TaskPage />} />
            <Route path="/stores" element={<Stores />} />
            <Route path="*" element={<Nowhere />} />
          </Routes>
        </Suspense>
      </main>
    </>
  );
}

function Nowhere() {
  return (
    <div className="page">
      <NotThere title="nowhere.title" text="nowhere.text" />
    </div>
  );
}

/** Says so while the hub does not answer. It lies over the page, so that nothing moves. */
function Offline() {
  const { offline } = useWay();
  const { t } = useText();
  return (
    <div className="bar-slot" role="status">
      {offline && <div className="bar">{t("offline.bar")}</div>}
    </div>
  );
}

const CHOICES: { name: keyof Prefs; title: Key; values: [string, Key | null, string?][] }[] = [
  {
    name: "language",
    title: "look.language",
    values: [
      ["en", null, "English"],
      ["zh", null, "简体中文"],
    ],
  },
  {
    name: "theme",
    title: "look.theme",
    values: [
      ["auto", "look.auto"],
      ["light", "look.light"],
      ["dark", "look.dark"],
    ],
  },
  {
    name: "density",
    title: "look.density",
    values: [
      ["roomy", "look.roomy"],
      ["compact", "look.compact"],
    ],
  },
  {
    name: "zone",
    title: "look.zone",
    values: [
      ["local", "look.local"],
      ["utc", "look.utc"],
    ],
  },
];

function Look() {
  const { t } = useText();
  const prefs = usePrefs();
  const hub = useHub();
  return (
    <Menu label={t("look")} icon="gear">
      {() => (
        <>
          {CHOICES.map((choice) => (
            <fieldset key={choice.name} style={{ border: 0, margin: 0, padding: 0 }}>
              <legend className="group">{t(choice.title)}</legend>
              {choice.values.map(([value, key, text]) => (
                <button
                  key={value}
                  type="button"
                  aria-pressed={prefs[choice.name] === value}
                  lang={value === "zh" ? "zh-CN" : undefined}
                  onClick={() => setPrefs({ [choice.name]: value })}
                >
                  <span className="tick">{prefs[choice.name] === value && <Icon name="check" size={14} />}</span>
                  {key ? t(key) : text}
                </button>
              ))}
            </fieldset>
          ))}
          {hub && <div className="group">{t("look.about", { version: hub.version, user: hub.user })}</div>}
        </>
      )}
    </Menu>
  );
}
