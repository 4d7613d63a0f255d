import { useState } from "react";
import { useSearchParams } from "react-router";
import { RECORDS, STORY } from "../../api/questions";
import type { Facts, ObjectRecord, Outcome, Story, Task } from "../../api/types";
import { useAsk } from "../../api/use";
import { packed, unpacked } from "../../format";
import { useText } from "../../i18n";
import { Count, KeyText, Size, When } from "../../ui/numbers";
import { Badge, Button, Card, Empty, Failed, Loading, type Tone } from "../../ui/parts";
import { Search } from "../tasks";

const OUTCOMES: Outcome[] = ["DONE", "SKIPPED", "FAILED"];
const TONES: Record<Outcome, Tone> = { DONE: "ok", SKIPPED: "idle", FAILED: "bad" };
type Page = { records: { items: ObjectRecord[]; after: string | null; total: number | null } };

/** What became of each object or image of a run; and of one key, all that is known. */
export function Objects({ task }: { task: Task }) {
  const { t, exact } = useText();
  const [params, setParams] = useSearchParams();
  const outcome = OUTCOMES.find((one) => one === params.get("outcome"));
  const code = params.get("code") ?? "";
  const prefix = unpacked(params.get("prefix") ?? "");
  const key = params.get("key");
  const runId = params.get("run") ?? task.latest?.id ?? "";
  const [trail, setTrail] = useState<string[]>([]);
  const after = trail[trail.length - 1] ?? null;
  const set = (change: Record<string, string>) => {
    setTrail([]);
    setParams((old) => {
      const next = new URLSearchParams(old);
      for (const [name, value] of Object.entries(change)) {
        if (value) next.set(name, value);
        else next.delete(name);
      }
      return next;
    });
  };
  const variables = {
    taskId: task.id,
    runId,
    outcomes: outcome ? [outcome] : null,
    code: code || null,
    prefix,
    limit: 100,
    after,
  };
  const asked = useAsk<Page>(RECORDS, variables, {
    keep: true,
    enabled: runId !== "",
    poll: after == null,
  });
  const page = asked.data?.records;
  if (!runId) {
    return (
      <Card>
        <Empty title={t("overview.never")}>{t("overview.neverText")}</Empty>
      </Card>
    );
  }
  return (
    <>
      {key && task.type === "S3EC2" && <OneKey task={task} value={unpacked(key)} onClose={() => set({ key: "" })} />}
      <div className="filters">
        <Search
          value={prefix}
          label={t("objects.prefix")}
          onChange={(text) => set({ prefix: text ? packed(text) : "" })}
        />
        <div className="chips">
          <button type="button" className="chip" aria-pressed={!outcome} onClick={() => set({ outcome: "", code: "" })}>
            {t("objects.all")}
          </button>
          {OUTCOMES.map((one) => (
            <button
              key={one}
              type="button"
              className="chip"
              aria-pressed={outcome === one}
              onClick={() => set({ outcome: one, code: "" })}
            >
              {t(`outcome.${one.toLowerCase() as "done"}`)}
            </button>
          ))}
          {code && (
            <button type="button" className="chip" aria-pressed onClick={() => set({ code: "" })}>
              {code} ×
            </button>
          )}
        </div>
        {params.get("run") && params.get("run") !== task.latest?.id && (
          <Button kind="quiet" onClick={() => set({ run: "" })}>
            {t("objects.newest")}
          </Button>
        )}
      </div>
      {asked.error && asked.error.code !== "offline" && <Failed error={asked.error} retry={() => asked.refetch()} />}
      <Card bare>
        {!page && !asked.error && <Loading lines={8} />}
        {page && page.items.length === 0 && <Empty title={t("objects.none")}>{t("objects.noneText")}</Empty>}
        {page &&
          page.items.length > 0 &&
          (task.type === "ECR" ? (
            <Images rows={page.items} />
          ) : (
            <Rows rows={page.items} onKey={(one) => set({ key: packed(one) })} />
          ))}
        {page && (
          <div className="foot row between">
            <span className="muted">
              {page.total != null
                ? t("objects.total", { total: exact(page.total) })
                : t("objects.shown", { n: page.items.length })}
            </span>
            <span className="row">
              <Button disabled={trail.length === 0} onClick={() => setTrail(trail.slice(0, -1))}>
                {t("page.back")}
              </Button>
              <Button disabled={!page.after} onClick={() => page.after && setTrail([...trail, page.after])}>
                {t("page.next")}
              </Button>
            </span>
          </div>
        )}
      </Card>
    </>
  );
}

function OutcomeBadge({ record }: { record: ObjectRecord }) {
  const { t } = useText();
  return <Badge tone={TONES[record.outcome]}>{t(`outcome.${record.outcome.toLowerCase() as "done"}`)}</Badge>;
}

function Rows({ rows, onKey }: { rows: ObjectRecord[]; onKey: (key: string) => void }) {
  const { t, phrase, cause } = useText();
  const timed = rows.some((row) => row.at != null && Date.parse(row.at) > 0); // reports of objects hold no times
  return (
    <div className="table-wrap">
      <table>
        <thead>
          <tr>
            <th>{t("objects.key")}</th>
            <th>{t("objects.outcome")}</th>
            <th>{t("objects.why")}</th>
            <th className="num">{t("objects.size")}</th>
            <th>{t("objects.proof")}</th>
            {timed && <th>{t("objects.at")}</th>}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, place) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: one key may have several records
            <tr key={`${row.key} ${place}`}>
              <td style={{ maxWidth: 520 }}>
                <button type="button" className="linklike" onClick={() => onKey(row.key)}>
                  <KeyText value={row.key} />
                </button>
              </td>
              <td>
                <OutcomeBadge record={row} />
              </td>
              <td title={row.error ?? undefined}>
                {row.code
                  ? cause(row.code, row.label ?? row.code, "")[0]
                  : phrase((row.reason ?? "–").replaceAll("_", " "))}
              </td>
              <td className="num">
                <Size value={row.size} />
              </td>
              <td title={row.verifiedBy ? phrase(`proof ${row.verifiedBy.replaceAll("_", " ")}`) : undefined}>
                {row.verifiedBy ? <code>{row.verifiedBy}</code> : "–"}
              </td>
              {timed && (
                <td>
                  <When at={row.at} seconds />
                </td>
              )}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Images({ rows }: { rows: ObjectRecord[] }) {
  const { t, cause } = useText();
  return (
    <div className="table-wrap">
      <table>
        <thead>
          <tr>
            <th>{t("images.repository")}</th>
            <th>{t("images.tag")}</th>
            <th>{t("images.digest")}</th>
            <th>{t("objects.outcome")}</th>
            <th>{t("images.platforms")}</th>
            <th className="num">{t("images.referrers")}</th>
            <th className="num">{t("images.sent")}</th>
            <th className="num">{t("images.mounted")}</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row, place) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: one image may have several records
            <tr key={`${row.key} ${place}`}>
              <td>
                <KeyText value={row.image?.repository || row.key} />
              </td>
              <td>{row.image?.tag ?? "–"}</td>
              <td className="mono" title={row.image?.digest}>
                {row.image ? row.image.digest.slice(0, 19) : "–"}
              </td>
              <td title={row.error ?? undefined}>
                <OutcomeBadge record={row} /> {row.code && cause(row.code, row.label ?? row.code, "")[0]}
              </td>
              <td>{row.image?.platforms.join(", ") || "–"}</td>
              <td className="num">
                <Count value={row.image?.referrers} />
              </td>
              <td className="num">
                <Size value={row.image?.bytes ?? row.size} />
              </td>
              <td className="num">
                <Size value={row.image?.mounted} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function OneKey({ task, value, onClose }: { task: Task; value: string; onClose: () => void }) {
  const { t, phrase, cause, rule, setting } = useText();
  const asked = useAsk<{ story: Story }>(STORY, { taskId: task.id, key: value }, { stale: 30_000 });
  const story = asked.data?.story;
  return (
    <Card
      title={
        <span className="row">
          {t("story.title")} <KeyText value={value} />
        </span>
      }
      actions={<Button kind="quiet" icon="cross" label={t("close")} onClick={onClose} />}
    >
      {asked.error && <Failed error={asked.error} retry={() => asked.refetch()} />}
      {asked.isPending && <Loading lines={3} />}
      {story && (
        <div className="stack">
          <dl className="facts">
            <dt>{t("story.action")}</dt>
            <dd>{phrase(story.action)}</dd>
            <dt>{t("story.rule")}</dt>
            <dd>
              {story.action === "unknown" && `${cause(story.code, "", "")[0]} `}
              {rule(story.code, story.rule, setting(story.setting ?? "", story.setting ?? "", "")[0])}
            </dd>
          </dl>
          <div className="grid2">
            <Side title={t("source")} facts={story.source} error={story.sourceError} />
            <Side title={t("destination")} facts={story.destination} error={story.destinationError} />
          </div>
          {story.records.map((record) => (
            <div key={`${record.at} ${record.outcome}`} className="stack tight">
              <div className="row">
                <OutcomeBadge record={record} />
                <When at={record.at} seconds />
                <span className="muted">{t("story.attempts", { n: record.attempts })}</span>
                {record.verifiedBy && (
                  <span className="muted">
                    {t("objects.proof")}: <code>{record.verifiedBy}</code>
                  </span>
                )}
              </div>
              {record.error && <p style={{ color: "var(--bad)" }}>{record.error}</p>}
              {(record.sourceEtag || record.destEtag) && (
                <p className="small muted">
                  ETag {t("source")}: <code>{record.sourceEtag ?? "–"}</code> · {t("destination")}:{" "}
                  <code>{record.destEtag ?? "–"}</code>
                </p>
              )}
            </div>
          ))}
          {story.records.length === 0 && <p className="muted">{t("story.noRecords")}</p>}
        </div>
      )}
    </Card>
  );
}

function Side({ title, facts, error }: { title: string; facts: Facts | null; error: string | null }) {
  const { t } = useText();
  return (
    <div className="stack tight">
      <h3>{title}</h3>
      {facts ? (
        <dl className="facts">
          <dt>{t("objects.size")}</dt>
          <dd>
            <Size value={facts.size} />
          </dd>
          <dt>ETag</dt>
          <dd className="mono">{facts.etag}</dd>
          <dt>{t("story.modified")}</dt>
          <dd>
            <When at={facts.modifiedAt} seconds />
          </dd>
          {facts.storageClass && (
            <>
              <dt>{t("story.class")}</dt>
              <dd>{facts.storageClass}</dd>
            </>
          )}
        </dl>
      ) : error ? (
        <p style={{ color: "var(--bad)" }}>{error}</p>
      ) : (
        <p className="muted">{t("story.absent")}</p>
      )}
    </div>
  );
}
