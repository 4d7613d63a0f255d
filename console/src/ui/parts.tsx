import { type ReactNode, useEffect, useId, useRef, useState } from "react";
import { Link } from "react-router";
import { type Key, useText } from "../i18n";
import { Icon, type IconName } from "./icons";

export type Tone = "ok" | "bad" | "warn" | "busy" | "idle";

export function Badge({ tone, children, dot = true }: { tone: Tone; children: ReactNode; dot?: boolean }) {
  return (
    <span className={`badge ${tone}`}>
      {dot && <span className="dot" />}
      {children}
    </span>
  );
}

export function Card({
  title,
  actions,
  children,
  bare = false,
}: {
  title?: ReactNode;
  actions?: ReactNode;
  children: ReactNode;
  bare?: boolean;
}) {
  return (
    <section className="card">
      {title != null && (
        <div className="head">
          <h2>{title}</h2>
          {actions}
        </div>
      )}
      {bare ? children : <div className="body">{children}</div>}
    </section>
  );
}

type ButtonProps = {
  children?: ReactNode;
  icon?: IconName;
  label?: string;
  kind?: "primary" | "danger" | "quiet";
  type?: "button" | "submit";
  disabled?: boolean;
  why?: string | undefined;
  onClick?: () => void;
};

/** `label` names a button that has only an icon; `why` says why it is disabled. */
export function Button({ children, icon, label, kind, type = "button", disabled, why, onClick }: ButtonProps) {
  const classes = ["btn", kind, children == null ? "icon" : ""].filter(Boolean).join(" ");
  return (
    <button
      type={type}
      className={classes}
      disabled={disabled}
      title={(disabled && why) || label}
      aria-label={label}
      onClick={onClick}
    >
      {icon && <Icon name={icon} />}
      {children}
    </button>
  );
}

const ALERTS: Record<string, IconName> = { bad: "warn", warn: "warn", ok: "check", info: "info" };

export function Alert({
  tone = "info",
  title,
  children,
  action,
}: {
  tone?: "bad" | "warn" | "ok" | "info";
  title?: ReactNode;
  children?: ReactNode;
  action?: ReactNode;
}) {
  return (
    <div className={`alert ${tone}`} role={tone === "bad" ? "alert" : "status"}>
      <Icon name={ALERTS[tone] ?? "info"} />
      <div className="stack tight">
        {title != null && <strong>{title}</strong>}
        {children != null && <div>{children}</div>}
      </div>
      {action ?? <span />}
    </div>
  );
}

/** What a page, or a part of one, shows where there is nothing to show. */
export function Empty({
  title,
  children,
  actions,
  page = false,
}: {
  title: string;
  children?: ReactNode;
  actions?: ReactNode;
  page?: boolean;
}) {
  return (
    <div className="empty">
      {page ? <h1>{title}</h1> : <h2>{title}</h2>}
      {children && <p>{children}</p>}
      {actions && <div className="row">{actions}</div>}
    </div>
  );
}

/** Takes the place of a page that is not there, and leads back to the tasks. */
export function NotThere({ title, text }: { title: Key; text: Key }) {
  const { t } = useText();
  return (
    <section className="card">
      <Empty
        page
        title={t(title)}
        actions={
          <Link className="btn" to="/">
            {t("nav.tasks")}
          </Link>
        }
      >
        {t(text)}
      </Empty>
    </section>
  );
}

/** A text in which what stands between backquotes is code. */
export function Rich({ text }: { text: string }) {
  return text.split("`").map((part, place) =>
    // biome-ignore lint/suspicious/noArrayIndexKey: parts of one text never move
    place % 2 ? <code key={place}>{part}</code> : <span key={place}>{part}</span>,
  );
}

/** Keeps the place of what is on its way. */
export function Loading({ lines = 4 }: { lines?: number }) {
  const { t } = useText();
  return (
    <div className="stack" style={{ padding: "var(--pad)" }} role="status">
      <span className="sr">{t("loading")}</span>
      {Array.from({ length: lines }, (_, place) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: they are all alike
        <span key={place} className="skeleton" style={{ height: 16, width: `${92 - ((place * 17) % 40)}%` }} />
      ))}
    </div>
  );
}

/** An answer that is an error, in words. */
export function Failed({
  error,
  retry,
}: {
  error: { message: string; hint?: string; code?: string };
  retry?: () => void;
}) {
  const { t, told } = useText();
  const offline = error.code === "offline";
  const [title, hint] = told(error);
  return (
    <Alert
      tone="bad"
      title={offline ? t("offline.title") : title}
      action={
        retry && (
          <Button icon="again" onClick={retry}>
            {t("again")}
          </Button>
        )
      }
    >
      {offline ? t("offline.text") : hint && <Rich text={hint} />}
    </Alert>
  );
}

export function Copy({ text, label }: { text: string; label?: Key }) {
  const { t } = useText();
  const [done, setDone] = useState(false);
  useEffect(() => {
    if (!done) return;
    const timer = setTimeout(() => setDone(false), 1600);
    return () => clearTimeout(timer);
  }, [done]);
  return (
    <Button
      icon={done ? "check" : "copy"}
      kind="quiet"
      onClick={() => navigator.clipboard?.writeText(text).then(() => setDone(true))}
    >
      {done ? t("copied") : t(label ?? "copy")}
    </Button>
  );
}

export function Code({ text }: { text: string }) {
  return (
    <div className="stack tight">
      <pre className="code" tabIndex={0}>
        {text}
      </pre>
      <div className="row">
        <Copy text={text} />
      </div>
    </div>
  );
}

/** A menu behind a button. `children` gets a function that closes it. */
export function Menu({
  label,
  icon,
  text,
  children,
}: {
  label: string;
  icon?: IconName;
  text?: string;
  children: (close: () => void) => ReactNode;
}) {
  const id = useId();
  const menu = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const place = () => {
    const box = button.current?.getBoundingClientRect();
    if (!box || !menu.current) return;
    menu.current.style.top = `${box.bottom + 4}px`;
    menu.current.style.right = `${document.documentElement.clientWidth - box.right}px`;
  };
  return (
    <>
      <button
        ref={button}
        type="button"
        className={`btn quiet ${text ? "" : "icon"}`}
        popoverTarget={id}
        aria-label={label}
        title={label}
        onClick={place}
      >
        {icon && <Icon name={icon} />}
        {text}
        {text && <Icon name="down" size={12} />}
      </button>
      <div ref={menu} id={id} popover="auto" className="menu">
        {children(() => menu.current?.hidePopover())}
      </div>
    </>
  );
}

/** A question before something that cannot be taken back. */
export function Ask({
  title,
  children,
  yes,
  danger = false,
  busy = false,
  onYes,
  onNo,
}: {
  title: string;
  children: ReactNode;
  yes: string;
  danger?: boolean;
  busy?: boolean;
  onYes: () => void;
  onNo: () => void;
}) {
  const { t } = useText();
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const shown = dialog.current;
    shown?.showModal();
    return () => shown?.close();
  }, []);
  return (
    <dialog ref={dialog} aria-labelledby={id} onCancel={onNo}>
      <div className="body">
        <h2 id={id}>{title}</h2>
        {children}
      </div>
      <div className="foot">
        <Button onClick={onNo}>{t("cancel")}</Button>
        <Button kind={danger ? "danger" : "primary"} disabled={busy} onClick={onYes}>
          {yes}
        </Button>
      </div>
    </dialog>
  );
}
