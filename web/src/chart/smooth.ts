/**
 * Smoothing of a series whose points need not be evenly spaced.
 *
 * Widths are counted in *units*: the mean distance of two points of the whole series, as if it had at most
 * {@link RESOLUTION} of them. The whole series and not what is on screen sets the unit, so zooming never changes
 * a curve. Non-finite values stay where they are and take no part: a gap stays a gap.
 */

export type Smoothing = "none" | "ema" | "gaussian" | "median";

export const RESOLUTION = 1000;

/** Distance along x that counts as one point; 0 if all x are equal. */
export function unitOf(first: number, last: number, count: number): number {
  return Math.abs(last - first) / Math.max(1, Math.min(count, RESOLUTION) - 1);
}

/**
 * Exponential moving average with the start's bias taken out.
 *
 * On even points this is s_t = w s_{t-1} + (1-w) y_t, divided by 1 - w^t so that the zero it starts from weighs
 * nothing (Kingma & Ba 2015, "Adam", section 3). For a gap of d units the weight is w^d, the irregular form
 * of Wright 1986, "Forecasting data published at irregular time intervals"; sum and weight are kept side by
 * side, of which 1 - w^t is the closed form for an even grid.
 */
export function ema(x: Float64Array, y: Float64Array, weight: number, unit: number): Float64Array {
  const out = new Float64Array(y.length);
  let sum = 0;
  let total = 0;
  let before = NaN;
  let keep = weight;
  let lastGap = 1;
  for (let i = 0; i < y.length; i++) {
    const v = y[i]!;
    if (!Number.isFinite(v)) {
      out[i] = v;
      continue;
    }
    const gap = unit > 0 && !Number.isNaN(before) ? Math.abs(x[i]! - before) / unit : 1;
    // Mostly the same gap again.
    if (gap !== lastGap) keep = Math.pow(weight, gap);
    lastGap = gap;
    sum = keep * sum + (1 - weight) * v;
    total = keep * total + (1 - weight);
    out[i] = total > 0 ? sum / total : v;
    before = x[i]!;
  }
  return out;
}

/**
 * Mean weighted by a Gaussian kernel of standard deviation `sigma` units, cut at three of them.
 *
 * Nadaraya 1964 and Watson 1964: sum(k(x_i - x_j) y_j) / sum(k(x_i - x_j)).
 */
export function gaussian(x: Float64Array, y: Float64Array, sigma: number, unit: number): Float64Array {
  const width = sigma * unit;
  if (!(width > 0)) return y.slice();
  const out = new Float64Array(y.length);
  const factor = -0.5 / (width * width);
  let from = 0;
  for (let i = 0; i < y.length; i++) {
    if (!Number.isFinite(y[i]!)) {
      out[i] = y[i]!;
      continue;
    }
    const at = x[i]!;
    while (x[from]! < at - 3 * width) from++;
    let sum = 0;
    let total = 0;
    for (let j = from; j < y.length && x[j]! <= at + 3 * width; j++) {
      const v = y[j]!;
      if (!Number.isFinite(v)) continue;
      const d = x[j]! - at;
      const k = Math.exp(factor * d * d);
      sum += k * v;
      total += k;
    }
    out[i] = sum / total;
  }
  return out;
}

/** Median of the values within half of `width` units to each side (Tukey 1977, running medians). */
export function runningMedian(x: Float64Array, y: Float64Array, width: number, unit: number): Float64Array {
  const half = (width * unit) / 2;
  if (!(half > 0)) return y.slice();
  const out = new Float64Array(y.length);
  const window: number[] = []; // sorted values of [from, to)
  const place = (v: number): number => {
    let low = 0;
    let high = window.length;
    while (low < high) {
      const mid = (low + high) >> 1;
      if (window[mid]! < v) low = mid + 1;
      else high = mid;
    }
    return low;
  };
  let from = 0;
  let to = 0;
  for (let i = 0; i < y.length; i++) {
    for (; to < y.length && x[to]! <= x[i]! + half; to++) {
      if (Number.isFinite(y[to]!)) window.splice(place(y[to]!), 0, y[to]!);
    }
    for (; x[from]! < x[i]! - half; from++) {
      if (Number.isFinite(y[from]!)) window.splice(place(y[from]!), 1);
    }
    if (!Number.isFinite(y[i]!)) {
      out[i] = y[i]!;
      continue;
    }
    const n = window.length;
    out[i] = n % 2 ? window[n >> 1]! : (window[n / 2 - 1]! + window[n / 2]!) / 2;
  }
  return out;
}

/**
 * Smooth with one strength of 0 (nothing) to 1 (most) for all three kinds, so that switching between them compares
 * like with like: the weight of the average is the strength; the widths of the others are chosen to hold as
 * many points, 1 / (1 - strength).
 */
export function smooth(
  kind: Smoothing,
  strength: number,
  x: Float64Array,
  y: Float64Array,
  unit: number,
): Float64Array {
  if (kind === "none" || strength <= 0) return y;
  const weight = Math.min(strength, 0.999);
  const points = 1 / (1 - weight);
  if (kind === "ema") return ema(x, y, weight, unit);
  return kind === "gaussian" ? gaussian(x, y, points / 2, unit) : runningMedian(x, y, 2 * points, unit);
}
