/** The lines of a chart: what was fetched, made ready to be drawn. Pure: no canvas and no page. */
import type { Band, Points } from "../wire/points";
import { firstAtLeast } from "./nearest";
import { extent, padded, withoutOutliers, type Range, type Scale } from "./range";
import { smooth, unitOf, type Smoothing } from "./smooth";

export interface Line {
  key: string;
  /** The experiment, or the group's key for a group mean. */
  id: string;
  label: string;
  context: string;
  colour: string;
  dash: number[];
  x: Float64Array;
  /** What is drawn strong: the smoothed values, or the last of each bucket. */
  y: Float64Array;
  /** The last value of each bucket as logged; the same array as `y` if nothing is smoothed. */
  raw: Float64Array;
  low: Float64Array;
  high: Float64Array;
  exact: boolean;
  band: boolean;
  /** x goes to and fro: nothing may be looked up in it by halves. */
  path?: boolean;
}

export interface Style {
  label: string;
  colour: string;
  dash: number[];
}

const joined = (a: Float64Array, from: number, b: Float64Array, c: Float64Array, at: number): Float64Array => {
  const out = new Float64Array(from + b.length + c.length - at);
  out.set(a.subarray(0, from));
  out.set(b, from);
  out.set(c.subarray(at), from + b.length);
  return out;
};

/**
 * Put finer points of a window into the coarse points of the whole: outside of the window the coarse ones stay,
 * so panning shows something at once and smoothing sees what came before the window.
 */
export function refine(whole: Points, fine: Points): Points {
  if (fine.x.length === 0) return whole;
  const from = firstAtLeast(whole.x, fine.x[0]!);
  const last = fine.x[fine.x.length - 1]!;
  let to = firstAtLeast(whole.x, last);
  while (to < whole.x.length && whole.x[to]! <= last) to++;
  const mix = (k: "x" | "min" | "max" | "last"): Float64Array => joined(whole[k], from, fine[k], whole[k], to);
  return {
    ...whole,
    x: mix("x"),
    min: mix("min"),
    max: mix("max"),
    last: mix("last"),
    exact: whole.exact && fine.exact,
  };
}

/** Put a finer band of a window, of which only what lies in `inside` is sure, into that of the whole. */
export function refineBand(whole: Band, fine: Band, inside: Range): Band {
  const cut = [firstAtLeast(fine.x, inside[0]), firstAtLeast(fine.x, inside[1])] as const;
  if (cut[0] >= cut[1]) return whole;
  const from = firstAtLeast(whole.x, fine.x[cut[0]]!);
  const last = fine.x[cut[1] - 1]!;
  let to = from;
  while (to < whole.x.length && whole.x[to]! <= last) to++;
  const mix = (k: "x" | "low" | "high" | "mean"): Float64Array =>
    joined(whole[k], from, fine[k].subarray(...cut), whole[k], to);
  return { ...whole, x: mix("x"), low: mix("low"), high: mix("high"), mean: mix("mean") };
}

/** Prepare a line; `whole` are the points of the unzoomed series, which set the unit of smoothing. */
export function lineOf(points: Points, whole: Points, style: Style, kind: Smoothing, strength: number): Line {
  const n = whole.x.length;
  // A path is smoothed along itself, not along x.
  const along = points.path ? points.x.map((_, i) => i) : points.x;
  const unit = points.path ? 1 : n ? unitOf(whole.x[0]!, whole.x[n - 1]!, whole.count) : 0;
  return {
    key: `${points.id}\n${points.context}`,
    id: points.id,
    context: points.context,
    get label() {
      return style.label; // names may come later, and change no picture
    },
    colour: style.colour,
    dash: style.dash,
    x: points.x,
    y: smooth(kind, strength, along, points.last, unit),
    raw: points.last,
    low: points.min,
    high: points.max,
    exact: points.exact || points.path === true,
    band: false,
    ...(points.path ? { path: true } : {}),
  };
}

export interface View {
  x: Range;
  y: Range;
}

export interface ViewOptions {
  xScale: Scale;
  yScale: Scale;
  ignoreOutliers: boolean;
  /** The part of x on screen; null for all. */
  x: Range | null;
  y: Range | null;
}

/** What part of the plane to show; null if there is nothing that the scales can show. */
export function viewOf(lines: readonly Line[], o: ViewOptions): View | null {
  const all = extent(
    lines.map((l) => l.x),
    o.xScale,
  );
  if (!all) return null;
  // Lines go from edge to edge; lone points would be cut in halves there.
  const lone = lines.every((l) => l.x.length <= 1);
  const x = o.x ?? (lone || all[0] === all[1] ? padded(all, o.xScale) : all);
  if (o.y) return { x, y: o.y };
  const arrays: Float64Array[] = [];
  for (const l of lines) {
    let from = 0;
    let to = l.x.length;
    if (o.x && l.path) {
      const [low, high] = x;
      const seen = (v: number, i: number): boolean => l.x[i]! >= low && l.x[i]! <= high && !Number.isNaN(v);
      arrays.push(l.y.filter(seen), l.raw.filter(seen));
      continue;
    }
    if (o.x) {
      // One point beyond each end: the line is drawn to it.
      from = Math.max(0, firstAtLeast(l.x, x[0]) - 1);
      to = Math.min(l.x.length, firstAtLeast(l.x, x[1]) + 1);
    }
    if (l.y === l.raw || l.band) arrays.push(l.low.subarray(from, to), l.high.subarray(from, to));
    else arrays.push(l.y.subarray(from, to), l.raw.subarray(from, to));
  }
  const y = o.ignoreOutliers ? withoutOutliers(arrays, o.yScale) : extent(arrays, o.yScale);
  return y ? { x, y: padded(y, o.yScale) } : null;
}

/** Points that no axis can show: not finite, or not above 0 on a log axis. */
export function hiddenPoints(lines: readonly Line[], scale: Scale): { nonFinite: number; notPositive: number } {
  let nonFinite = 0;
  let notPositive = 0;
  for (const l of lines) {
    for (const v of l.raw) {
      if (!Number.isFinite(v)) nonFinite++;
      else if (scale === "log" && v <= 0) notPositive++;
    }
  }
  return { nonFinite, notPositive };
}
