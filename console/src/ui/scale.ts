/** Lines of the grid between the ground and the top of a chart. */
export const GRID = 4;

export type Scale = "plain" | "whole" | "bytes";

/** The smallest value at or above the given one whose quarters are round numbers. */
export function ceiling(value: number, scale: Scale = "plain"): number {
  if (!(value > 0)) return scale === "plain" ? 1 : GRID;
  if (scale === "bytes") return 2 ** Math.max(Math.ceil(Math.log2(value)), 2);
  const power = 10 ** Math.floor(Math.log10(value));
  const found = ([1, 2, 4, 6, 8].find((one) => one * power >= value) ?? 10) * power;
  return scale === "whole" ? Math.ceil(found / GRID) * GRID : found;
}

/** Ups and downs as a path; a gap where nothing was measured. */
export function path(values: (number | null)[], x: (place: number) => number, y: (value: number) => number): string {
  let drawn = "";
  let open = false;
  values.forEach((value, place) => {
    if (value == null) {
      open = false;
      return;
    }
    drawn += `${open ? "L" : "M"}${x(place).toFixed(1)} ${y(value).toFixed(1)}`;
    open = true;
  });
  return drawn;
}
