/** From values to pixels: the visible part of a line as places inside the frame. */
import { firstAtLeast, nearestOfPath } from "./nearest";
import { fraction, type Range, type Scale } from "./range";
import type { Line, View } from "./series";

export interface Scales {
  x: Scale;
  y: Scale;
}

export interface Places {
  x: Float64Array;
  /** From the top edge; NaN is a gap. */
  y: Float64Array;
  top: Float64Array;
  bottom: Float64Array;
  /** The same array as `y` where nothing is smoothed. */
  raw: Float64Array;
  /** `y` has no gap. */
  whole: boolean;
  /** Where non-finite values begin, along x. */
  broken: number[];
}

/** How far outside of the frame a place may lie, in frames, so that what canvases can hold is never left. */
const BEYOND = 4;

function project(
  values: Float64Array,
  from: number,
  to: number,
  range: Range,
  scale: Scale,
  size: number,
  up: boolean,
) {
  const out = new Float64Array(to - from);
  const low = scale === "log" ? Math.log(range[0]) : range[0];
  const factor = size / ((scale === "log" ? Math.log(range[1]) : range[1]) - low);
  const limit = BEYOND * size;
  for (let i = from; i < to; i++) {
    const v = values[i]!;
    let place = NaN;
    if (scale === "linear") place = (v - low) * factor;
    else if (v > 0) place = (Math.log(v) - low) * factor;
    if (up) place = size - place;
    out[i - from] = place > limit ? limit : place < -limit ? -limit : place;
  }
  return out;
}

/** Places of the part of a line that is in view, with one bucket more at each side; of a path all. */
export function placesOf(line: Line, view: View, scales: Scales, width: number, height: number): Places {
  const from = line.path ? 0 : Math.max(0, firstAtLeast(line.x, view.x[0]) - 1);
  let to = line.path ? line.x.length : firstAtLeast(line.x, view.x[1]);
  while (to < line.x.length && line.x[to]! <= view.x[1]) to++;
  to = Math.min(line.x.length, to + 1);
  const upward = (values: Float64Array): Float64Array => project(values, from, to, view.y, scales.y, height, true);
  const x = project(line.x, from, to, view.x, scales.x, width, false);
  const y = upward(line.y);
  const raw = line.y === line.raw ? y : upward(line.raw);
  const top = upward(line.high);
  const bottom = upward(line.low);
  const broken: number[] = [];
  let whole = true;
  for (let i = 0; i < to - from; i++) {
    const v = line.raw[from + i]!;
    if (!Number.isFinite(v)) {
      y[i] = NaN;
      raw[i] = NaN;
      const fresh = i === 0 || Number.isFinite(line.raw[from + i - 1]!);
      if (fresh && x[i]! >= 0 && x[i]! <= width) broken.push(x[i]!);
    }
    if (Number.isNaN(y[i]!)) whole = false;
    // An infinite end of a bucket is told by the mark at the lower edge, not by a stroke through the chart.
    if (!Number.isFinite(line.high[from + i]!)) top[i] = y[i]!;
    if (!Number.isFinite(line.low[from + i]!)) bottom[i] = y[i]!;
    // Of a bucket that a log axis can show in part, the rest reaches below the frame.
    if (Number.isNaN(bottom[i]!) && !Number.isNaN(top[i]!)) bottom[i] = BEYOND * height;
  }
  return { x, y, top, bottom, raw, whole, broken };
}

/** The value of a line at x, between its points; NaN outside of it and in gaps. Of a path that of the nearest point. */
export function valueOf(line: Line, values: Float64Array, at: number, scale: Scale): number {
  if (line.path) return values[nearestOfPath(line.x, at)] ?? NaN;
  const i = firstAtLeast(line.x, at);
  if (i >= line.x.length) return NaN;
  if (line.x[i] === at || i === 0) return line.x[i] === at ? values[i]! : NaN;
  const share = fraction(at, [line.x[i - 1]!, line.x[i]!], scale);
  return values[i - 1]! + (values[i]! - values[i - 1]!) * share;
}
