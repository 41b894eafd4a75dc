/** What part of the value axis to show: all of it, or without outliers; log axes never see values of 0 and below. */

export type Scale = "linear" | "log";
export type Range = [number, number];

/** Share of the values left out at each end when outliers are ignored. */
const TAIL = 0.02;
/** At most so many values are sorted; a fixed stride over more keeps the answer the same each time. */
const SAMPLE = 20_000;

const usable = (v: number, scale: Scale): boolean => Number.isFinite(v) && (scale === "linear" || v > 0);

/** Smallest and largest finite value (above 0 for a log scale); null if there is none. */
export function extent(arrays: Iterable<ArrayLike<number>>, scale: Scale = "linear"): Range | null {
  let low = Infinity;
  let high = -Infinity;
  for (const a of arrays) {
    for (let i = 0; i < a.length; i++) {
      const v = a[i]!;
      if (v < low && usable(v, scale)) low = v;
      if (v > high && usable(v, scale)) high = v;
    }
  }
  return low <= high ? [low, high] : null;
}

/** Range of the values between the percentiles {@link TAIL} and 1 - TAIL, a tenth of it wider at each side. */
export function withoutOutliers(arrays: ArrayLike<number>[], scale: Scale = "linear"): Range | null {
  const total = arrays.reduce((n, a) => n + a.length, 0);
  const stride = Math.max(1, Math.ceil(total / SAMPLE));
  const kept: number[] = [];
  let k = 0;
  for (const a of arrays) {
    for (; k < a.length; k += stride) if (usable(a[k]!, scale)) kept.push(a[k]!);
    k -= a.length;
  }
  const all = extent(arrays, scale);
  if (all === null || kept.length < 5) return all;
  const sorted = Float64Array.from(kept).sort();
  const at = (q: number): number => sorted[Math.round(q * (sorted.length - 1))]!;
  const [low, high] = [at(TAIL), at(1 - TAIL)];
  if (scale === "log") {
    const room = Math.pow(high / low, 0.1);
    return [Math.max(all[0], low / room), Math.min(all[1], high * room)];
  }
  const room = (high - low) * 0.1;
  return [Math.max(all[0], low - room), Math.min(all[1], high + room)];
}

/** Ranges narrower than this share of their values are rounding, not news. */
const ROUNDING = 1e-12;

/** A little air around a range, so that no line lies on the frame; a single value gets a range of its own. */
export function padded([low, high]: Range, scale: Scale, share = 0.04): Range {
  if (scale === "log") {
    if (high / low - 1 <= ROUNDING) return [low / 2, high * 2];
    const room = Math.pow(high / low, share);
    return [low / room, high * room];
  }
  if (high - low <= ROUNDING * Math.max(Math.abs(low), Math.abs(high))) {
    const room = Math.abs(low) * 0.1 || 1;
    return [low - room, high + room];
  }
  const room = (high - low) * share;
  return [low - room, high + room];
}

/** Place of a value between the ends of a range, 0 to 1 inside; NaN for what a log scale cannot show. */
export function fraction(v: number, [low, high]: Range, scale: Scale): number {
  if (scale === "log") return v > 0 ? Math.log(v / low) / Math.log(high / low) : NaN;
  return (v - low) / (high - low);
}

/** The value at a place of a range; inverse of {@link fraction}. */
export function valueAt(share: number, [low, high]: Range, scale: Scale): number {
  return scale === "log" ? low * Math.pow(high / low, share) : low + share * (high - low);
}

/** Zoom around a place of the range; `factor` below 1 zooms in. */
export function zoomed(range: Range, scale: Scale, factor: number, around = 0.5): Range {
  return [valueAt(around - around * factor, range, scale), valueAt(around + (1 - around) * factor, range, scale)];
}

/** Move by a share of the range's width. */
export function panned(range: Range, scale: Scale, by: number): Range {
  return [valueAt(by, range, scale), valueAt(1 + by, range, scale)];
}
