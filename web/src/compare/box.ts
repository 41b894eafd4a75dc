/** What a box plot shows of a group of values. */
export interface Box {
  label: string;
  n: number;
  /** Lower quartile, median, upper quartile. */
  quartiles: [number, number, number];
  /** The furthest values within one and a half box lengths of the box. */
  whiskers: [number, number];
  mean: number;
  values: { value: number; index: number; outlier: boolean }[];
}

/** A quantile of sorted values, linear between two of them (type 7 of Hyndman and Fan, 1996). */
export function quantile(sorted: readonly number[], share: number): number {
  const at = share * (sorted.length - 1);
  const [low, high] = [sorted[Math.floor(at)] ?? NaN, sorted[Math.ceil(at)] ?? NaN];
  return low + (high - low) * (at - Math.floor(at));
}

/** The box of finite values, each with the place of its experiment; null of none. */
export function boxOf(label: string, values: readonly { value: number; index: number }[]): Box | null {
  const finite = values.filter((one) => Number.isFinite(one.value)).sort((a, b) => a.value - b.value);
  if (finite.length === 0) return null;
  const sorted = finite.map((one) => one.value);
  const [q1, q2, q3] = [quantile(sorted, 0.25), quantile(sorted, 0.5), quantile(sorted, 0.75)];
  const reach = 1.5 * (q3 - q1);
  const inside = sorted.filter((value) => value >= q1 - reach && value <= q3 + reach);
  const whiskers: [number, number] = [inside[0] ?? q1, inside.at(-1) ?? q3];
  return {
    label,
    n: finite.length,
    quartiles: [q1, q2, q3],
    whiskers,
    mean: sorted.reduce((sum, value) => sum + value, 0) / sorted.length,
    values: finite.map((one) => ({ ...one, outlier: one.value < whiskers[0] || one.value > whiskers[1] })),
  };
}

/** One box a group, in the order of `labels`' first appearance as sorted by the caller. */
export function boxesOf(
  values: readonly (number | null)[],
  groups: readonly string[],
  order: readonly string[],
): Box[] {
  const members = new Map<string, { value: number; index: number }[]>(order.map((label) => [label, []]));
  values.forEach((value, index) => {
    if (value !== null) members.get(groups[index] ?? "")?.push({ value, index });
  });
  return [...members].map(([label, found]) => boxOf(label, found)).filter((box) => box !== null);
}
