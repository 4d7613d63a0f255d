import { MutationCache, QueryCache, QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { type FormEvent, type ReactNode, useEffect, useRef, useState, useSyncExternalStore } from "react";
import { type Door, door, HubError, post } from "./api/ask";
import { useText } from "./i18n";
import { Alert, Button, Loading, Rich } from "./ui/parts";

/** What is between the browser and the hub now: nothing, a lost session, or no answer. */
type Way = { signedOut: boolean; offline: boolean };
let way: Way = { signedOut: false, offline: false };
const listeners = new Set<() => void>();

function setWay(change: Partial<Way>) {
  const next = { ...way, ...change };
  if (next.signedOut === way.signedOut && next.offline === way.offline) return;
  way = next;
  for (const listener of listeners) listener();
}

export function useWay(): Way {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => way,
  );
}

function onError(error: unknown) {
  if (!(error instanceof HubError)) return;
  if (error.code === "not_signed_in") setWay({ signedOut: true, offline: false });
  else setWay({ offline: error.code === "offline" });
}

const client = new QueryClient({
  queryCache: new QueryCache({ onError, onSuccess: () => setWay({ offline: false, signedOut: false }) }),
  mutationCache: new MutationCache({ onError }),
  defaultOptions: {
    // "always": the hub may be on this very machine, whatever the browser thinks of the network.
    queries: { networkMode: "always", retry: false, refetchOnWindowFocus: true, gcTime: 60_000 },
    mutations: { networkMode: "always", retry: false },
  },
});

/** Takes the one-time secret out of the address, so that no history and no copied link holds it. */
function takeToken(): string {
  const token = /^#t=([\w-]+)$/.exec(location.hash)?.[1] ?? "";
  if (token) history.replaceState(history.state, "", location.pathname + location.search);
  return token;
}

const LOOK_MILLISECONDS = 3000;
const token = takeToken();
let used: Promise<HubError | null> | undefined;

function redeem(): Promise<HubError | null> {
  used ??= token
    ? post("/login/token", { token }).then(
        () => null,
        (error: HubError) => error,
      )
    : Promise.resolve(null);
  return used;
}

/** Shows its children to who is signed in, and goes on showing them, with all that was typed, where the session ends. */
export function Session({ children }: { children: ReactNode }) {
  const [found, setFound] = useState<Door | null>(null);
  const [problem, setProblem] = useState<HubError | null>(null);
  const { signedOut } = useWay();
  const look = () =>
    door().then(
      (answer) => {
        setFound(answer);
        if (!answer.signedIn) return;
        setProblem(null);
        setWay({ signedOut: false, offline: false });
        client.invalidateQueries();
      },
      (error: HubError) => setProblem(error),
    );
  // biome-ignore lint/correctness/useExhaustiveDependencies: once, when the page opens
  useEffect(() => {
    redeem().then((error) => {
      setProblem(error);
      look();
    });
  }, []);
  if (!found) {
    if (problem?.code === "offline") return <SignIn ways={[]} problem={problem} onDone={look} />;
    return <Loading />;
  }
  if (!found.signedIn) return <SignIn ways={found.ways} problem={problem} onDone={look} />;
  return (
    <QueryClientProvider client={client}>
      {children}
      {signedOut && <Again ways={found.ways} onDone={look} />}
    </QueryClientProvider>
  );
}

function Again({ ways, onDone }: { ways: string[]; onDone: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const { t } = useText();
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  // One may sign in in another tab: this one goes on by itself.
  // biome-ignore lint/correctness/useExhaustiveDependencies: one clock while the dialog is open
  useEffect(() => {
    const clock = setInterval(onDone, LOOK_MILLISECONDS);
    return () => clearInterval(clock);
  }, []);
  return (
    <dialog ref={dialog} aria-label={t("signin.again")} onCancel={(event) => event.preventDefault()}>
      <div className="body">
        <h2>{t("signin.again")}</h2>
        <p className="muted">{t("signin.kept")}</p>
        <Ways ways={ways} onDone={onDone} kept />
      </div>
    </dialog>
  );
}

function SignIn({ ways, problem, onDone }: { ways: string[]; problem: HubError | null; onDone: () => void }) {
  const { t } = useText();
  return (
    <main className="signin">
      <section className="card">
        <div className="body stack">
          <div className="row">
            <img src="/favicon.svg" alt="" width={32} height={32} />
            <h1>{t("signin.title")}</h1>
          </div>
          {problem && (
            <Alert
              tone="bad"
              title={
                problem.code === "offline"
                  ? t("offline.title")
                  : problem.code === "used_link"
                    ? t("signin.used")
                    : problem.message
              }
            >
              {problem.code === "offline" ? (
                t("offline.text")
              ) : problem.code === "used_link" ? (
                <Rich text={t("signin.usedHint")} />
              ) : (
                problem.hint
              )}
            </Alert>
          )}
          <Ways ways={ways} onDone={onDone} />
        </div>
      </section>
    </main>
  );
}

/** Every way in that this hub has. `kept`: the page below holds what somebody typed, so another tab goes to the provider. */
function Ways({ ways, onDone, kept = false }: { ways: string[]; onDone: () => void; kept?: boolean }) {
  const { t, told } = useText();
  const [password, setPassword] = useState("");
  const [wrong, setWrong] = useState("");
  const submit = (event: FormEvent) => {
    event.preventDefault();
    post("/login/password", { password }).then(onDone, (error: HubError) =>
      setWrong(error.code === "offline" ? t("offline.title") : told(error).join(" ")),
    );
  };
  return (
    <div className="stack">
      {ways.includes("password") && (
        <form className="stack" onSubmit={submit}>
          <div className="field">
            <label htmlFor="password">{t("signin.password")}</label>
            <input
              id="password"
              type="password"
              autoComplete="current-password"
              value={password}
              aria-invalid={wrong !== ""}
              onChange={(event) => setPassword(event.target.value)}
            />
            {wrong && (
              <span className="wrong" role="alert">
                {wrong}
              </span>
            )}
          </div>
          <Button type="submit" kind="primary">
            {t("signin.do")}
          </Button>
        </form>
      )}
      {ways.includes("oidc") && (
        <a className="btn" href="/login/oidc" target={kept ? "_blank" : undefined} rel="noopener">
          {t("signin.oidc")}
        </a>
      )}
      {ways.includes("link") && (
        <p className="muted">
          <Rich text={t("signin.link")} />
        </p>
      )}
      <div className="row">
        <Button icon="again" onClick={onDone}>
          {t("signin.look")}
        </Button>
      </div>
    </div>
  );
}
