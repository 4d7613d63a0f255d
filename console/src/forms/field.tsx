import { type ReactNode, useId } from "react";
import type { Setting } from "../api/types";
import { useText } from "../i18n";
import { Rich } from "../ui/parts";
import { writtenSize } from "./check";

type FieldProps = {
  label: ReactNode;
  help?: ReactNode;
  wrong?: string | undefined;
  optional?: boolean;
  wide?: boolean;
  children: (ids: { id: string; "aria-describedby": string; "aria-invalid": boolean }) => ReactNode;
};

/** A label, a control, and below it either what is wrong or what it is for. The place below is always kept. */
export function Field({ label, help, wrong, optional, wide, children }: FieldProps) {
  const { t } = useText();
  const id = useId();
  return (
    <div className={`field ${wide ? "wide" : ""}`}>
      <label htmlFor={id}>
        {label} {optional && <span className="opt">{t("optional")}</span>}
      </label>
      {children({ id, "aria-describedby": `${id}-help`, "aria-invalid": wrong != null })}
      <span id={`${id}-help`} className={wrong ? "wrong" : "help"} role={wrong ? "alert" : undefined}>
        {typeof (wrong ?? help) === "string" ? <Rich text={String(wrong ?? help)} /> : help}
      </span>
    </div>
  );
}

type Props = {
  setting: Setting;
  value: string;
  wrong?: string | undefined;
  required?: boolean;
  suggestions?: string[];
  onChange: (value: string) => void;
  onLeave?: () => void;
};

/** One setting of the catalogue as a control of its kind. */
export function SettingField({ setting, value, wrong, required, suggestions, onChange, onLeave }: Props) {
  const text = useText();
  const id = useId();
  const [title, help] = text.setting(setting.name, setting.title, setting.help);
  if (setting.kind === "FLAG") {
    const on = (value || setting.default) === "true";
    return (
      <div className="check" data-setting={setting.name}>
        <input
          id={id}
          type="checkbox"
          checked={on}
          aria-describedby={`${id}-help`}
          onChange={(event) => onChange(String(event.target.checked))}
        />
        <label htmlFor={id}>{title}</label>
        <span id={`${id}-help`} className="help muted small">
          <Rich text={help} />
        </span>
      </div>
    );
  }
  const wide = setting.name === "src_image_list";
  return (
    <div data-setting={setting.name} className={wide ? "wide" : ""} style={{ minWidth: 0 }}>
      <Field label={title} help={help} wrong={wrong} optional={false}>
        {(ids) => (
          <Control
            {...ids}
            setting={setting}
            value={value}
            required={required ?? false}
            suggestions={suggestions}
            onChange={onChange}
            onLeave={onLeave}
          />
        )}
      </Field>
    </div>
  );
}

type ControlProps = Omit<Props, "wrong" | "suggestions" | "onLeave"> & {
  id: string;
  "aria-describedby": string;
  "aria-invalid": boolean;
  suggestions: string[] | undefined;
  onLeave: (() => void) | undefined;
};

function Control({ setting, value, required, suggestions, onChange, onLeave, ...ids }: ControlProps) {
  const { t, phrase } = useText();
  if (setting.kind === "CHOICE") {
    return (
      <select
        {...ids}
        value={value || setting.default || ""}
        onChange={(event) => onChange(event.target.value)}
        onBlur={onLeave}
      >
        {setting.choices.map((choice) => (
          <option key={choice} value={choice}>
            {choice === "" ? t("edit.auto") : phrase(choice.replaceAll("_", " "))}
          </option>
        ))}
      </select>
    );
  }
  if (setting.name === "src_image_list") {
    return (
      <textarea
        {...ids}
        rows={5}
        value={value}
        placeholder={"ubuntu:24.04\nnginx:ALL_TAGS"}
        onChange={(event) => onChange(event.target.value)}
        onBlur={onLeave}
        spellCheck={false}
      />
    );
  }
  const number = ["INTEGER", "NUMBER"].includes(setting.kind);
  const standard = setting.default ?? "";
  const placeholder =
    setting.kind === "TIME" ? "2026-12-01T03:00:00Z" : setting.kind === "SIZE" ? writtenSize(standard) : standard;
  return (
    <>
      <input
        {...ids}
        value={value}
        required={required}
        inputMode={number ? "decimal" : undefined}
        placeholder={placeholder}
        autoComplete="off"
        autoCapitalize="none"
        spellCheck={false}
        list={suggestions?.length ? `${ids.id}-list` : undefined}
        onChange={(event) => onChange(event.target.value)}
        onBlur={onLeave}
      />
      {suggestions && suggestions.length > 0 && (
        <datalist id={`${ids.id}-list`}>
          {suggestions.map((one) => (
            <option key={one} value={one} />
          ))}
        </datalist>
      )}
    </>
  );
}
