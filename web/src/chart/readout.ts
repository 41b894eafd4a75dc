/** What the lines of a chart say at one place of x. */
import { nearest, nearestOfPath } from "./nearest";
import { valueOf, type Scales } from "./project";
import { fraction } from "./range";
import type { Line, View } from "./series";

export interface Reading {
  line: Line;
  value: number;
  /** Smallest and largest value of the bucket, if it stands for several points. */
  low: number;
  high: number;
}

/** Readings of all lines that have a value near x, largest value first; equal ones and non-finite in a fixed order. */
export function readings(lines: readonly Line[], at: number, scales: Scales): Reading[] {
  const out: Reading[] = [];
  for (const line of lines) {
    const n = line.x.length;
    if (n === 0 || (!line.path && n > 1 && (at < line.x[0]! || at > line.x[n - 1]!))) continue;
    const i = line.path ? nearestOfPath(line.x, at) : nearest(line.x, at);
    const between = valueOf(line, line.y, at, scales.x);
    // In a gap the nearest point itself is told: NaN is news too.
    const value = n > 1 && Number.isFinite(between) ? between : line.y[i]!;
    out.push({ line, value, low: line.low[i]!, high: line.high[i]! });
  }
  const rank = (v: number): number => (Number.isNaN(v) ? -Infinity : v);
  return out.sort((a, b) => rank(b.value) - rank(a.value) || (a.line.key < b.line.key ? -1 : 1));
}

/** The line whose value at the place is nearest to the pointer; null if none is within `reach` pixels. */
export function lineAt(all: readonly Reading[], view: View, scales: Scales, height: number, y: number, reach = 40) {
  let found: Line | null = null;
  let best = reach;
  for (const { line, value } of all) {
    const d = Math.abs((1 - fraction(value, view.y, scales.y)) * height - y);
    if (d < best) {
      best = d;
      found = line;
    }
  }
  return found;
}

/** The part of a sorted list to show when not all fits: around the line that stands out, else from the top. */
export function excerpt(all: readonly Reading[], id: string | null, most: number): { rows: Reading[]; from: number } {
  const at =
    id === null
      ? 0
      : Math.max(
          0,
          all.findIndex((r) => r.line.id === id),
        );
  const from = Math.max(0, Math.min(at - Math.floor(most / 2), all.length - most));
  return { rows: all.slice(from, from + most), from };
}
