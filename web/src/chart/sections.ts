/** Metrics fall into sections by what stands before the first slash of their name; system metrics by the first dot. */
import { naturally } from "../values/order";

export interface Section<T> {
  name: string;
  items: T[];
}

export const UNNAMED = "Metrics";

export function sectionOf(metric: string): string {
  const slash = metric.indexOf("/");
  if (slash > 0) return metric.slice(0, slash);
  return metric.startsWith("system.") ? "system" : UNNAMED;
}

/** A metric's name without its section. */
export function shortName(metric: string): string {
  const section = sectionOf(metric);
  return section === UNNAMED || metric.length <= section.length + 1 ? metric : metric.slice(section.length + 1);
}

/** Sections by name, those without a prefix first; names inside in the order a person counts (`layer2` before `layer10`). */
export function sections<T extends { name: string }>(items: readonly T[]): Section<T>[] {
  const found = new Map<string, T[]>();
  for (const item of items) {
    const name = sectionOf(item.name);
    const list = found.get(name);
    if (list) list.push(item);
    else found.set(name, [item]);
  }
  return [...found.entries()]
    .map(([name, list]) => ({ name, items: list.sort((a, b) => naturally(a.name, b.name)) }))
    .sort((a, b) => Number(b.name === UNNAMED) - Number(a.name === UNNAMED) || naturally(a.name, b.name));
}
