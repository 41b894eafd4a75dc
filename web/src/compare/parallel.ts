/** Parallel coordinates: an axis a quantity, a line an experiment, and brushes that leave some of them. */
import type { Axis } from "./quantity";

/** Part of an axis that is chosen, from the lower to the upper place in 0…1. */
export type Brush = readonly [number, number];

export interface Frame {
  width: number;
  top: number;
  /** Height of the axes. */
  height: number;
  /** Room left and right of the outer axes. */
  side: number;
}

export function axisX(index: number, count: number, frame: Frame): number {
  return count < 2 ? frame.width / 2 : frame.side + ((frame.width - 2 * frame.side) * index) / (count - 1);
}

export function placeY(place: number, frame: Frame): number {
  return frame.top + (1 - place) * frame.height;
}

export function placeAt(y: number, frame: Frame): number {
  return Math.min(1, Math.max(0, 1 - (y - frame.top) / frame.height));
}

/** The path of one experiment; it breaks where a quantity is not known. */
export function linePath(axes: readonly Axis[], experiment: number, frame: Frame): string {
  let path = "";
  let drawing = false;
  axes.forEach((axis, index) => {
    const place = axis.places[experiment] ?? null;
    if (place === null) drawing = false;
    else {
      const at = `${axisX(index, axes.length, frame).toFixed(1)},${placeY(place, frame).toFixed(1)}`;
      path += `${drawing ? "L" : "M"}${at}`;
      drawing = true;
    }
  });
  return path;
}

/** Whether an experiment lies inside all brushes; one without the quantity of a brushed axis does not. */
export function isKept(axes: readonly Axis[], brushes: ReadonlyMap<string, Brush>, experiment: number): boolean {
  return axes.every((axis) => {
    const brush = brushes.get(axis.id);
    const place = axis.places[experiment] ?? null;
    return brush === undefined || (place !== null && place >= brush[0] && place <= brush[1]);
  });
}

/** A brush between two places, or none where it is too small to have been meant. */
export function brushBetween(a: number, b: number): Brush | null {
  const [low, high] = a < b ? [a, b] : [b, a];
  return high - low < 0.01 ? null : [low, high];
}

/** A brush moved by keys: as much of it as stays on the axis. */
export function nudged(brush: Brush, by: number): Brush {
  const step = Math.max(-brush[0], Math.min(1 - brush[1], by));
  return [brush[0] + step, brush[1] + step];
}
