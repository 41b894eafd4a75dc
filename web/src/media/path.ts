/** Paths of SVG through points in pixels. Points that would lie on one another are drawn once. */

const round = (value: number): number => Math.round(value * 10) / 10;
const drawable = (x: number, y: number): boolean => Number.isFinite(x) && Number.isFinite(y);

/** A line, with a gap where a point is missing. */
export function linePath(x: ArrayLike<number>, y: ArrayLike<number>): string {
  const parts: string[] = [];
  let before = "";
  for (let i = 0; i < Math.min(x.length, y.length); i++) {
    const [px, py] = [x[i]!, y[i]!];
    if (!drawable(px, py)) {
      before = "";
      continue;
    }
    const here = `${round(px)} ${round(py)}`;
    if (here !== before) parts.push((before === "" ? "M" : "L") + here);
    before = here;
  }
  return parts.join("");
}

/** A dot at each point: lines of no length, to which round ends are given. */
export function dotPath(x: ArrayLike<number>, y: ArrayLike<number>): string {
  const dots = new Set<string>();
  for (let i = 0; i < Math.min(x.length, y.length); i++) {
    if (drawable(x[i]!, y[i]!)) dots.add(`M${round(x[i]!)} ${round(y[i]!)}h0`);
  }
  return [...dots].join("");
}

/** The room between a line and another one, or a height, from the first point to the last. */
export function areaPath(
  x: readonly number[],
  y: readonly number[],
  under: { x: readonly number[]; y: readonly number[] },
): string {
  const points = [...pairs(x, y), ...pairs(under.x, under.y).reverse()];
  return points.length > 2 ? `M${points.map(([px, py]) => `${round(px)} ${round(py)}`).join("L")}Z` : "";
}

function pairs(x: readonly number[], y: readonly number[]): [number, number][] {
  return x.flatMap((px, i): [number, number][] => (drawable(px, y[i] ?? NaN) ? [[px, y[i]!]] : []));
}
