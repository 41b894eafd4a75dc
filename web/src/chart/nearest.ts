/** Search along x, sorted unless it is a path's. */

/** Index of the x nearest to `at` (the earlier one if two are as near); -1 for no points. */
export function nearest(x: ArrayLike<number>, at: number): number {
  const after = firstAtLeast(x, at);
  if (after === 0) return x.length ? 0 : -1;
  if (after === x.length) return x.length - 1;
  return at - x[after - 1]! <= x[after]! - at ? after - 1 : after;
}

/** Index of the first x that is not below `at`; the length if all are. */
export function firstAtLeast(x: ArrayLike<number>, at: number): number {
  let low = 0;
  let high = x.length;
  while (low < high) {
    const mid = (low + high) >> 1;
    if (x[mid]! < at) low = mid + 1;
    else high = mid;
  }
  return low;
}

/** Index of the x nearest to `at` where x goes to and fro: the last one of several; -1 for no points. */
export function nearestOfPath(x: ArrayLike<number>, at: number): number {
  let found = -1;
  for (let i = 0; i < x.length; i++) if (found < 0 || Math.abs(x[i]! - at) <= Math.abs(x[found]! - at)) found = i;
  return found;
}
