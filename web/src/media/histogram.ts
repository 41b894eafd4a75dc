/** Histograms over time: counts of steps in bins of their own, brought to common bins. */
import type { Range } from "../chart/range";

export interface Histogram {
  counts: readonly number[];
  edges: readonly number[];
}

/** One column of a heat map: from a step to the next one that is shown. */
export interface Column {
  from: number;
  to: number;
  /** The first and last step that are in it. */
  first: number;
  last: number;
  /** How many values there are. */
  total: number;
  /** How many fall into each common bin, from the least. */
  counts: Float64Array;
}

/** From the least to the greatest edge of all; a little around it where these are the same. Null if there is none. */
export function spanOf(all: readonly Histogram[]): Range | null {
  let low = Infinity;
  let high = -Infinity;
  for (const { counts, edges } of all) {
    if (counts.length === 0) continue;
    low = Math.min(low, edges[0]!);
    high = Math.max(high, edges.at(-1)!);
  }
  if (!(low <= high)) return null;
  if (low < high) return [low, high];
  const around = Math.abs(low) * 0.5 || 0.5;
  return [low - around, high + around];
}

/**
 * Counts in `bins` bins of equal width over a span. The values of a bin are taken to be spread evenly in it, so that
 * the sum stays; a bin without width falls into one.
 */
export function rebin({ counts, edges }: Histogram, [low, high]: Range, bins: number): Float64Array {
  const out = new Float64Array(bins);
  const scale = bins / (high - low);
  const binOf = (place: number) => Math.min(bins - 1, Math.max(0, Math.floor(place)));
  for (let i = 0; i < counts.length; i++) {
    const count = counts[i]!;
    if (count === 0) continue;
    const from = (edges[i]! - low) * scale;
    const to = (edges[i + 1]! - low) * scale;
    if (!(to - from > 1e-9)) {
      out[binOf(from)]! += count;
      continue;
    }
    const last = binOf(Math.ceil(to) - 1);
    for (let bin = binOf(from); bin <= last; bin++) {
      const share = (Math.min(to, bin + 1) - Math.max(from, bin)) / (to - from);
      if (share > 0) out[bin]! += count * share;
    }
  }
  return out;
}

/** Columns of a heat map, at most `most`: where there are more steps, neighbours are added up. */
export function columnsOf(
  items: readonly (Histogram & { step: number })[],
  span: Range,
  bins: number,
  most: number,
): Column[] {
  const each = Math.max(1, Math.ceil(items.length / most));
  const gap = usualGap(items.map((item) => item.step));
  const columns: Column[] = [];
  for (let at = 0; at < items.length; at += each) {
    const some = items.slice(at, at + each);
    const last = some.at(-1)!.step;
    const counts = new Float64Array(bins);
    for (const item of some) rebin(item, span, bins).forEach((count, bin) => (counts[bin]! += count));
    const total = counts.reduce((sum, count) => sum + count, 0);
    const to = items[at + each]?.step ?? last + gap;
    columns.push({ from: some[0]!.step, to, first: some[0]!.step, last, total, counts });
  }
  return columns;
}

/** The median distance of neighbours; 1 of a single one. */
function usualGap(steps: readonly number[]): number {
  const gaps = steps
    .slice(1)
    .map((step, i) => step - steps[i]!)
    .sort((a, b) => a - b);
  return gaps[gaps.length >> 1] ?? 1;
}

/** The greatest share of a column's values that one bin holds. */
export function greatestShare(all: readonly (readonly Column[])[]): number {
  let most = 0;
  for (const columns of all) {
    for (const { counts, total } of columns) {
      for (const count of counts) if (count > most * total) most = count / total;
    }
  }
  return most;
}

/** The column that holds a step; null beside them. */
export function columnAt(columns: readonly Column[], step: number): Column | null {
  return columns.find((column) => column.from <= step && step < column.to) ?? null;
}
