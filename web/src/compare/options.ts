/** Which quantities of compared experiments can be chosen, and which to begin with. */
import { labelOf, type Quantity, type Value } from "./quantity";
import { textOf } from "../values/tree";
import { naturally } from "../values/order";

export interface Option {
  /** As the server names a column: `config.training.lr`, `metrics.loss@val.min`. */
  id: string;
  label: string;
  group: "Params" | "Metrics, last value" | "Metrics, minimum" | "Metrics, maximum" | "Other";
  /** Experiments differ in it, as far as is known. */
  differs: boolean;
}

interface Compared {
  params: { key: string; differs: boolean }[];
  metrics: { name: string; differs: boolean }[];
}

const mostMetrics = 500;

/**
 * @param found what the experiments have
 * @param columns ids of all columns of the store, which also name the contexts of metrics
 */
export function optionsOf(found: Compared, columns: readonly string[]): Option[] {
  const params = [...found.params]
    .sort((a, b) => Number(b.differs) - Number(a.differs))
    .map(({ key, differs }): Option => ({ id: `config.${key}`, label: key, group: "Params", differs }));
  const differs = new Map(found.metrics.map((metric) => [metric.name, metric.differs]));
  const contexts = columns
    .filter((id) => id.startsWith("metrics."))
    .map((id) => id.slice("metrics.".length))
    .filter((name) => name.includes("@") && differs.has(name.slice(0, name.lastIndexOf("@"))));
  const names = [...differs.keys(), ...contexts].sort().slice(0, mostMetrics);
  const metrics = (group: Option["group"], suffix: string, word: string): Option[] =>
    names.map((name) => ({
      id: `metrics.${name}${suffix}`,
      label: `${word}${name}`,
      group,
      differs: differs.get(name) ?? differs.get(name.slice(0, name.lastIndexOf("@"))) ?? false,
    }));
  return [
    ...params,
    ...metrics("Metrics, last value", "", ""),
    ...metrics("Metrics, minimum", ".min", "min "),
    ...metrics("Metrics, maximum", ".max", "max "),
    { id: "duration_s", label: "duration (s)", group: "Other", differs: true },
  ];
}

export function labelFor(options: readonly Option[], id: string): string {
  return options.find((one) => one.id === id)?.label ?? id.replace(/^(config|metrics)\./, "");
}

const differing = (options: readonly Option[], group: Option["group"]): Option[] => {
  const all = options.filter((one) => one.group === group);
  const some = all.filter((one) => one.differs);
  return some.length > 0 ? some : all;
};

const isSeed = (id: string): boolean => /(^|[._])seed$/.test(id);

/** The metric to look at first: a loss if there is one. */
export function firstMetric(options: readonly Option[]): string {
  const metrics = differing(options, "Metrics, last value");
  return (metrics.find((one) => /loss/i.test(one.id)) ?? metrics[0])?.id ?? "";
}

/** The params to look at first: those that differ, the seed last. */
export function firstParams(options: readonly Option[]): string[] {
  const ids = differing(options, "Params").map((one) => one.id);
  return [...ids.filter((id) => !isSeed(id)), ...ids.filter(isSeed)];
}

/** The axes of parallel coordinates to begin with. */
export function firstAxes(options: readonly Option[]): string[] {
  return [...firstParams(options).slice(0, 5), firstMetric(options)].filter(Boolean);
}

/** A column of the server as a quantity: numbers and short texts. */
export function quantityOf(id: string, kind: string, values: readonly unknown[]): Quantity {
  return { id, values: values.map((value) => plain(value, kind)) };
}

function plain(value: unknown, kind: string): Value {
  if (value === null || value === undefined || typeof value === "number" || typeof value === "boolean")
    return value ?? null;
  if (kind === "number") return null; // NaN and infinities travel as texts and have no place on an axis
  return typeof value === "string" ? value : textOf(value);
}

/** For each experiment the group that it belongs to, and all groups in order: numbers as numbers. */
export function groupsOf(quantity: Quantity): { of: string[]; order: string[] } {
  const of = quantity.values.map(labelOf);
  const values = new Map(of.map((label, index) => [label, quantity.values[index] ?? null]));
  const order = [...values].sort(([p, a], [q, b]) =>
    typeof a === "number" && typeof b === "number" ? a - b : naturally(p, q),
  );
  return { of, order: order.map(([label]) => label) };
}
