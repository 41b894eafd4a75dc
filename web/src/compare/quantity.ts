/** Quantities of experiments, a param or a metric each, and their place along an axis. */
import { padded, type Range, type Scale } from "../chart/range";
import { ticks, type Tick } from "../chart/ticks";
import { formatNumber } from "../chart/format";
import { naturally } from "../values/order";

export type Value = number | string | boolean | null;

export interface Quantity {
  id: string;
  /** One value an experiment; null where it has none. NaN and infinities count as none. */
  values: Value[];
}

export interface Axis {
  id: string;
  kind: "number" | "category";
  scale: Scale;
  range: Range;
  /** The values of a category, in their order along the axis. */
  categories: string[];
  /** Place of each experiment, 0 at the low end to 1; null where it has none. */
  places: (number | null)[];
  ticks: { place: number; label: string }[];
}

/** Decades from which on positive numbers are spread by their logarithm: learning rates from 3e-4 to 1e-2 are. */
const logDecades = 1.5;

export function axisOf(quantity: Quantity, most = 6): Axis {
  const known = quantity.values.filter((value) => value !== null);
  const numeric = known.length > 0 && known.every((value) => typeof value === "number");
  return numeric ? numberAxis(quantity, most) : categoryAxis(quantity);
}

function numberAxis({ id, values }: Quantity, most: number): Axis {
  const numbers = values.map((value) => (typeof value === "number" && Number.isFinite(value) ? value : null));
  const found = numbers.filter((value) => value !== null);
  const [low, high] = found.length > 0 ? [min(found), max(found)] : [0, 1];
  const scale: Scale = low > 0 && Math.log10(high / low) >= logDecades ? "log" : "linear";
  const range = padded([low, high], scale, 0.05);
  const at = (value: number): number =>
    scale === "log"
      ? Math.log(value / range[0]) / Math.log(range[1] / range[0])
      : (value - range[0]) / (range[1] - range[0]);
  return {
    id,
    kind: "number",
    scale,
    range,
    categories: [],
    places: numbers.map((value) => (value === null ? null : at(value))),
    ticks: ticks(range, scale, "number", most).map((tick: Tick) => ({ place: at(tick.value), label: tick.label })),
  };
}

function categoryAxis({ id, values }: Quantity): Axis {
  const names = values.map((value) => (value === null ? null : labelOf(value)));
  const categories = [...new Set(names.filter((name) => name !== null))].sort(naturally);
  const at = (name: string): number => (categories.indexOf(name) + 0.5) / categories.length;
  return {
    id,
    kind: "category",
    scale: "linear",
    range: [0, 1],
    categories,
    places: names.map((name) => (name === null ? null : at(name))),
    ticks: categories.map((name) => ({ place: at(name), label: name })),
  };
}

export function labelOf(value: Value): string {
  if (value === null) return "none";
  return typeof value === "number" ? formatNumber(value) : String(value);
}

/** Whether a quantity tells experiments apart. */
export function varies(quantity: Quantity): boolean {
  const known = quantity.values.filter((value) => value !== null);
  return new Set(known).size > 1;
}

const min = (values: readonly number[]): number => values.reduce((a, b) => Math.min(a, b));
const max = (values: readonly number[]): number => values.reduce((a, b) => Math.max(a, b));
