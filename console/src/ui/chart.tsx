import { useEffect, useRef, useState } from "react";
import { useText } from "../i18n";
import { ceiling, GRID, path, type Scale } from "./scale";

export type Line = { label: string; color: string; values: (number | null)[]; area?: boolean };
type Props = {
  title: string;
  t: number[];
  lines: Line[];
  marks?: { label: string; values: (number | null)[] };
  show: (value: number) => string;
  height?: number;
  scale?: Scale;
};

const LEFT = 74;
const BOTTOM = 22;
const TOP = 12;

/** Values over time. Drawn by hand: a library for two kinds of chart would weigh more than the rest of the page. */
export function Chart({ title, t, lines, marks, show, height = 180, scale = "plain" }: Props) {
  const text = useText();
  const box = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(600);
  const [at, setAt] = useState<number | null>(null);
  useEffect(() => {
    if (!box.current) return;
    const observer = new ResizeObserver(([entry]) => entry && setWidth(Math.max(entry.contentRect.width, 240)));
    observer.observe(box.current);
    return () => observer.disconnect();
  }, []);
  const values = lines.flatMap((line) => line.values).filter((one): one is number => one != null);
  const top = ceiling(Math.max(0, ...values), scale);
  const last = Math.max(t.length - 1, 1);
  const x = (place: number) => LEFT + ((width - LEFT - 8) * place) / last;
  const y = (value: number) => TOP + (height - TOP - BOTTOM) * (1 - value / top);
  const floor = y(0);
  const latest = lines.map(
    (line) => `${line.label} ${show([...line.values].reverse().find((one) => one != null) ?? 0)}`,
  );
  const ticks = [0, Math.floor(last / 2), last].filter(
    (place, index, all) => t[place] != null && all.indexOf(place) === index,
  );
  return (
    <figure className="stack tight">
      <figcaption className="row between">
        <h3>{title}</h3>
        <span className="row small muted" style={{ gap: 14 }}>
          {lines.map((line) => (
            <span key={line.label}>
              <span className="swatch" style={{ background: line.color }} />
              {line.label}
            </span>
          ))}
          {marks && (
            <span>
              <span className="swatch" style={{ background: "var(--warn-fill)" }} />
              {marks.label}
            </span>
          )}
        </span>
      </figcaption>
      <div className="chart" ref={box} style={{ height }}>
        <svg
          height={height}
          viewBox={`0 0 ${width} ${height}`}
          role="img"
          aria-label={`${title}: ${latest.join(", ")}`}
          onPointerMove={(event) => {
            const left = event.currentTarget.getBoundingClientRect().left;
            const place = Math.round(((event.clientX - left - LEFT) / (width - LEFT - 8)) * last);
            setAt(t[place] == null ? null : place);
          }}
          onPointerLeave={() => setAt(null)}
        >
          {Array.from({ length: GRID + 1 }, (_, step) => (top * step) / GRID).map((value) => (
            <g key={value}>
              <line
                x1={LEFT}
                x2={width - 8}
                y1={y(value)}
                y2={y(value)}
                stroke="var(--line)"
                strokeDasharray={value ? "2 4" : undefined}
              />
              <text x={LEFT - 8} y={y(value) + 4} textAnchor="end">
                {show(value)}
              </text>
            </g>
          ))}
          {ticks.map((place, index) => (
            <text
              key={place}
              x={x(place)}
              y={height - 5}
              textAnchor={index === 0 ? "start" : place === last ? "end" : "middle"}
            >
              {text.clock(t[place] as number, (t[last] ?? 0) - (t[0] ?? 0) < 600)}
            </text>
          ))}
          {marks?.values.map((value, place) =>
            value ? (
              <rect
                key={t[place]}
                x={x(place) - 2}
                y={TOP}
                width={4}
                height={floor - TOP}
                fill="var(--warn-fill)"
                opacity={0.35}
              />
            ) : null,
          )}
          {lines.map((line) => {
            const drawn = path(line.values, x, y);
            const lone = line.values.filter((one) => one != null).length === 1;
            return (
              <g key={line.label}>
                {line.area && drawn && <Area values={line.values} x={x} y={y} floor={floor} color={line.color} />}
                <path d={drawn} fill="none" stroke={line.color} strokeWidth={2} strokeLinejoin="round" />
                {lone &&
                  line.values.map((one, place) =>
                    one != null ? <circle key={t[place]} cx={x(place)} cy={y(one)} r={3} fill={line.color} /> : null,
                  )}
              </g>
            );
          })}
          {at != null && <line x1={x(at)} x2={x(at)} y1={TOP} y2={floor} stroke="var(--line-strong)" />}
        </svg>
        {at != null && (
          <div className="tip" style={x(at) > width / 2 ? { right: width - x(at) + 10 } : { left: x(at) + 10 }}>
            <div className="muted">{text.moment((t[at] as number) * 1000, true)}</div>
            {lines.map((line) => (
              <div key={line.label}>
                <span className="swatch" style={{ background: line.color }} />
                {line.label}: <strong>{line.values[at] == null ? "–" : show(line.values[at])}</strong>
              </div>
            ))}
          </div>
        )}
        {values.length === 0 && (
          <div className="tip" style={{ top: "42%", left: "50%", transform: "translateX(-50%)" }}>
            {text.t("chart.empty")}
          </div>
        )}
      </div>
    </figure>
  );
}

/** The ground below each unbroken stretch of a line. */
function Area({
  values,
  x,
  y,
  floor,
  color,
}: {
  values: (number | null)[];
  x: (place: number) => number;
  y: (value: number) => number;
  floor: number;
  color: string;
}) {
  const stretches: number[][] = [];
  values.forEach((value, place) => {
    if (value == null) return;
    const open = stretches[stretches.length - 1];
    if (open && open[open.length - 1] === place - 1) open.push(place);
    else stretches.push([place]);
  });
  return stretches.map((places) => {
    const first = x(places[0] as number);
    const end = x(places[places.length - 1] as number);
    const line = places.map((place) => `L${x(place).toFixed(1)} ${y(values[place] as number).toFixed(1)}`).join("");
    return <path key={first} d={`M${first} ${floor}${line}L${end} ${floor}Z`} fill={color} opacity={0.16} />;
  });
}

/** Amounts side by side. */
export function Bars({
  rows,
  show,
  color = "var(--accent-fill)",
}: {
  rows: { label: string; value: number }[];
  show: (value: number) => string;
  color?: string;
}) {
  const most = Math.max(...rows.map((row) => row.value), 1);
  return (
    <dl className="bars">
      {rows.map((row) => (
        <div key={row.label}>
          <dt>{row.label}</dt>
          <dd>
            <span className="progress">
              <span style={{ width: `${(100 * row.value) / most}%`, background: color }} />
            </span>
            <strong className="nowrap">{show(row.value)}</strong>
          </dd>
        </div>
      ))}
    </dl>
  );
}
