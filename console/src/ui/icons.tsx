const PATHS = {
  plus: "M8 3v10M3 8h10",
  play: "M5 3.5v9l7-4.5z",
  pause: "M5.5 3.5v9M10.5 3.5v9",
  stop: "M4.5 4.5h7v7h-7z",
  check: "M3 8.5l3.2 3.2L13 5",
  cross: "M4 4l8 8M12 4l-8 8",
  warn: "M8 2.5l6 10.5H2zM8 7v2.6M8 11.4v.1",
  info: "M8 14A6 6 0 108 2a6 6 0 000 12zM8 7.5V11M8 5v.1",
  more: "M3.5 8h.01M8 8h.01M12.5 8h.01",
  edit: "M3 13l.7-3L10.5 3.2l2.3 2.3L6 12.3zM9 4.7L11.3 7",
  copy: "M6 6h7v7H6zM3 10V3h7",
  bin: "M3 4.5h10M6.5 4.5V3h3v1.5M4.5 4.5l.6 8.5h5.8l.6-8.5",
  again: "M13 8a5 5 0 11-1.5-3.6M13 2.5V5h-2.5",
  shield: "M8 2l5 2v4c0 3-2 5-5 6-3-1-5-3-5-6V4zM5.8 8l1.6 1.6L10.4 6.5",
  arrow: "M3 8h10M9.5 4.5L13 8l-3.5 3.5",
  down: "M4 6l4 4 4-4",
  gear: "M3 4.5h5M11.5 4.5H13M3 8h1.5M8 8h5M3 11.5h6M12.5 11.5h.5M9.7 3v3M6.3 6.5v3M10.7 10v3",
  download: "M8 2.5v7.5M4.8 7L8 10.2 11.2 7M3 13h10",
  link: "M6.5 9.5l3-3M7 4.5l1.2-1.2a2.6 2.6 0 013.6 3.6L10.6 8M5.4 8L4.2 9.2a2.6 2.6 0 003.6 3.6L9 11.5",
} as const;
export type IconName = keyof typeof PATHS;

/** A drawing beside a word; screen readers skip it. */
export function Icon({ name, size = 16 }: { name: IconName; size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      <path
        d={PATHS[name]}
        fill={name === "play" || name === "stop" ? "currentColor" : "none"}
        stroke="currentColor"
        strokeWidth={name === "more" ? 2.2 : 1.5}
        strokeLinecap="round"
        strokeLinejoin="round"
      />
    </svg>
  );
}
