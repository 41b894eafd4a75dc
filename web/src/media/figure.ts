/** Brings the traces of a plotly figure onto two axes: lines, boxes and cells in their values. */
import { extent, padded, type Range, type Scale } from "../chart/range";
import { niceStep } from "../chart/ticks";
import type { AxisWish, Plotly, Raw, Trace } from "./plotly";

export interface FigureAxis {
  kind: "number" | "time" | "category";
  scale: Scale;
  range: Range;
  reversed: boolean;
  title: string;
  /** Their places are 0, 1, 2, …; each is one wide. */
  categories: string[];
}

export interface Box {
  x: Range;
  y: Range;
}

export type Mark =
  | { kind: "line"; name: string; x: number[]; y: number[]; fill: Trace["fill"]; trace: Trace }
  | { kind: "bars"; name: string; boxes: Box[]; sheer: boolean }
  | { kind: "cells"; name: string; x: number[]; y: number[]; z: (number | null)[][]; ends: Range };

export interface Figure {
  title: string;
  x: FigureAxis;
  y: FigureAxis;
  marks: Mark[];
  /** The types of the traces that are not drawn. */
  others: string[];
}

/** At most so many bins if none are asked for. */
const BINS = 40;
const DATE = /^\s*(\d{4})-(\d\d)(?:-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?)?/;

/** The reader's own time of what a date says, whose zone does not count. */
function timeOf(text: string): number {
  const found = DATE.exec(text);
  if (!found) return NaN;
  const [year, month, day, hour, minute, second] = found.slice(1, 7).map((part) => Number(part ?? 0)) as number[];
  const ms = Math.round(Number(`0.${found[7] ?? 0}`) * 1000);
  return new Date(year!, month! - 1, day || 1, hour, minute, second, ms).getTime();
}

const numeric = (value: Raw): boolean =>
  typeof value === "number" || (value !== null && value.trim() !== "" && Number.isFinite(Number(value)));

/** How values become places along an axis. */
class Places {
  readonly kind: FigureAxis["kind"];
  readonly categories: string[] = [];
  #of = new Map<string, number>();

  constructor(values: Raw[], wish: AxisWish) {
    const given = values.filter((value) => value !== null);
    if (wish.type === "category") this.kind = "category";
    else if (wish.type === "date") this.kind = "time";
    else if (wish.type === "log" || wish.type === "linear" || given.every(numeric)) this.kind = "number";
    else this.kind = given.every((value) => typeof value === "string" && DATE.test(value)) ? "time" : "category";
    if (this.kind !== "category") return;
    for (const value of given) {
      const name = String(value);
      if (this.#of.has(name)) continue;
      this.#of.set(name, this.categories.length);
      this.categories.push(name);
    }
  }

  at = (value: Raw): number => {
    if (value === null) return NaN;
    if (this.kind === "category") return this.#of.get(String(value)) ?? NaN;
    return this.kind === "time" && typeof value === "string" ? timeOf(value) : Number(value === "" ? NaN : value);
  };
}

/** A trace whose values stand on one axis as bars: where, how high, how wide. */
interface Columns {
  name: string;
  across: boolean;
  at: number[];
  height: number[];
  width: number;
}

function barColumns(trace: Trace, x: Places, y: Places): Columns {
  const [at, height] = trace.across ? [trace.y.map(y.at), trace.x.map(x.at)] : [trace.x.map(x.at), trace.y.map(y.at)];
  const sorted = [...new Set(at)].filter(Number.isFinite).sort((a, b) => a - b);
  const gap = sorted.slice(1).reduce((least, value, i) => Math.min(least, value - sorted[i]!), Infinity);
  return { name: trace.name, across: trace.across, at, height, width: (Number.isFinite(gap) ? gap : 1) * 0.8 };
}

/** Counts of equal bins, the same for all histograms along an axis. */
function countColumns(traces: Trace[], place: Places, across: boolean): Columns[] {
  const all = traces.map((trace) => (across ? trace.y : trace.x).map(place.at).filter(Number.isFinite));
  const span = extent(all);
  if (!span) return [];
  const most = traces.find((trace) => trace.bins)?.bins ?? Math.min(BINS, 1 + Math.ceil(Math.sqrt(all.flat().length)));
  const asked = traces.find((trace) => (trace.binWidth ?? 0) > 0)?.binWidth;
  const wide = place.kind === "category" ? 1 : (asked ?? niceStep(span[1] - span[0] || 1, most));
  const width = Math.max(wide, (span[1] - span[0]) / 10_000);
  const low = place.kind === "category" ? -0.5 : Math.floor(span[0] / width + 1e-9) * width;
  const bins = Math.max(1, Math.floor((span[1] - low) / width + 1e-9) + 1);
  const at = Array.from({ length: bins }, (_, bin) => low + (bin + 0.5) * width);
  return traces.map((trace, i) => {
    const height = at.map(() => 0);
    for (const value of all[i]!) height[Math.min(bins - 1, Math.floor((value - low) / width + 1e-9))]! += 1;
    const total = all[i]!.length || 1;
    let by = 1;
    if (trace.norm.startsWith("prob")) by /= total;
    if (trace.norm === "percent") by *= 100 / total;
    if (trace.norm.endsWith("density")) by /= width;
    const scaled = height.map((count) => count * by);
    return { name: trace.name, across, at, height: scaled, width: place.kind === "category" ? 0.8 : width };
  });
}

/** Boxes of columns side by side, one on the other, or one over the other. */
function barMarks(all: Columns[], mode: Plotly["bars"]): Mark[] {
  const tops = new Map<string, number>();
  const width = Math.min(...all.map((columns) => columns.width));
  return all.map((columns, index) => {
    const each = mode === "group" ? width / all.length : width;
    const shift = mode === "group" ? (index - all.length / 2) * each : -each / 2;
    const boxes = columns.at.flatMap((at, i): Box[] => {
      const height = columns.height[i] ?? NaN;
      if (!Number.isFinite(at) || !Number.isFinite(height)) return [];
      const key = `${columns.across} ${at} ${height < 0}`;
      const from = mode === "stack" ? (tops.get(key) ?? 0) : 0;
      tops.set(key, from + height);
      const [along, up]: Range[] = [
        [at + shift, at + shift + each],
        [from, from + height],
      ];
      return [columns.across ? { x: up!, y: along! } : { x: along!, y: up! }];
    });
    return { kind: "bars", name: columns.name, boxes, sheer: mode === "overlay" && all.length > 1 };
  });
}

/** Where cells end, of their middles; or of their ends, if there is one more. */
function edgesOf(at: number[], cells: number): number[] {
  if (at.length === cells + 1) return at;
  const middle = (i: number) => at[Math.min(cells - 1, Math.max(0, i))]!;
  const half = (i: number) => (middle(i) - middle(i - 1)) / 2;
  if (cells === 1) return [at[0]! - 0.5, at[0]! + 0.5];
  return Array.from({ length: cells + 1 }, (_, i) => {
    if (i === 0) return middle(0) - half(1);
    return i === cells ? middle(cells - 1) + half(cells - 1) : middle(i) - half(i);
  });
}

function cellMark(trace: Trace, x: Places, y: Places): Mark[] {
  const [across, up] = [trace.x.map(x.at), trace.y.map(y.at)];
  const [rows, columns] = [trace.z.length, trace.z.reduce((most, row) => Math.max(most, row.length), 0)];
  if (rows === 0 || columns === 0 || across.length < columns || up.length < rows) return [];
  const found = extent(trace.z.map((row) => row.map((value) => value ?? NaN))) ?? [0, 1];
  const ends: Range = [trace.ends[0] ?? found[0], trace.ends[1] ?? found[1]];
  return [{ kind: "cells", name: trace.name, x: edgesOf(across, columns), y: edgesOf(up, rows), z: trace.z, ends }];
}

function lineMarks(traces: Trace[], x: Places, y: Places): Mark[] {
  const tops = new Map<number, number>();
  return traces.map((trace) => {
    const [across, up] = [trace.x.map(x.at), trace.y.map(y.at)];
    let { fill } = trace;
    if (trace.stacked) {
      fill = tops.size === 0 ? "zero" : "before";
      across.forEach((at, i) => {
        up[i] = (tops.get(at) ?? 0) + (up[i] ?? NaN);
        if (Number.isFinite(up[i])) tops.set(at, up[i]!);
      });
    }
    return { kind: "line", name: trace.name, x: across, y: up, fill, trace };
  });
}

function axisOf(wish: AxisWish, places: Places, marks: Mark[], side: "x" | "y"): FigureAxis {
  const scale: Scale = wish.type === "log" && places.kind === "number" ? "log" : "linear";
  const ends = marks.map((mark) => (mark.kind === "bars" ? mark.boxes.flatMap((box) => box[side]) : mark[side]));
  let range = extent(ends, scale);
  let { reversed } = wish;
  const wished = wish.range?.map((end) => (places.kind === "category" ? Number(end) : places.at(end)));
  if (wished && wished.every(Number.isFinite) && wished[0] !== wished[1]) {
    reversed = wished[0]! > wished[1]!;
    const sorted = [...wished].sort((a, b) => a - b);
    range = (scale === "log" ? sorted.map((power) => 10 ** power) : sorted) as Range;
  } else if (places.kind === "category") {
    range = [-0.5, Math.max(1, places.categories.length) - 0.5];
  } else {
    const snug = marks.every((mark) => mark.kind === "cells");
    const onZero = marks.every((mark) => mark.kind === "bars") && range?.[0] === 0;
    range = snug && range && range[1] > range[0] ? range : padded(range ?? [1, 2], scale);
    if (onZero) range[0] = 0;
  }
  return { kind: places.kind, scale, range, reversed, title: wish.title, categories: places.categories };
}

/** What is to be drawn; null if there is nothing. */
export function figureOf(plotly: Plotly): Figure | null {
  const { traces } = plotly;
  const given = (side: "x" | "y") =>
    traces.flatMap((trace) => (trace.kind === "histogram" && trace.across !== (side === "y") ? [] : trace[side]));
  const x = new Places(given("x"), plotly.x);
  const y = new Places(given("y"), plotly.y);
  const columns = [
    ...traces.filter((trace) => trace.kind === "bar").map((trace) => barColumns(trace, x, y)),
    ...countColumns(
      traces.filter((trace) => trace.kind === "histogram" && !trace.across),
      x,
      false,
    ),
    ...countColumns(
      traces.filter((trace) => trace.kind === "histogram" && trace.across),
      y,
      true,
    ),
  ];
  const marks: Mark[] = [
    ...traces.filter((trace) => trace.kind === "heatmap").flatMap((trace) => cellMark(trace, x, y)),
    ...barMarks(columns, plotly.bars),
    ...lineMarks(
      traces.filter((trace) => trace.kind === "scatter"),
      x,
      y,
    ),
  ];
  if (marks.length === 0) return null;
  const axes = { x: axisOf(plotly.x, x, marks, "x"), y: axisOf(plotly.y, y, marks, "y") };
  return { title: plotly.title, ...axes, marks, others: plotly.others };
}
