import type { MenuItem } from "../../ui/Menu.svelte";
import { canGroup, canSort, summaries, summaryOf, type Column } from "./columns";
import { view } from "./view.svelte";

/** What can be done with a column. `shift` moves it one place. */
export function columnMenu(column: Column, shift: (by: number) => void): MenuItem[] {
  const { id } = column;
  const sorted = (descending: boolean) => () => view.update({ sorts: [{ id, descending }] });
  const grouped = view.now.groups.includes(id);
  const items: MenuItem[] = [];
  if (canSort(column.kind)) {
    items.push(
      { text: "Sort ascending", icon: "arrowUp", run: sorted(false) },
      { text: "Sort descending", icon: "arrowDown", run: sorted(true) },
    );
  }
  if (canGroup(id)) {
    const groups = grouped ? view.now.groups.filter((one) => one !== id) : [...view.now.groups, id];
    items.push({
      text: grouped ? "Do not group by it" : "Group by it",
      icon: "group",
      run: () => view.update({ groups }),
    });
  }
  items.push(
    {
      text: column.pinned ? "Unpin" : "Pin",
      icon: "pin",
      apart: true,
      run: () => view.change(id, { pinned: !column.pinned }),
    },
    { text: "Move left", icon: "chevronLeft", keys: "Alt ←", run: () => shift(-1) },
    { text: "Move right", icon: "chevronRight", keys: "Alt →", run: () => shift(1) },
    { text: "Hide", icon: "close", run: () => view.remove(id) },
  );
  return [...items, ...metricItems(column)];
}

// In the order of the summaries.
const metricTexts = ["Small chart", "Last value", "Smallest", "Largest", "Mean", "First value", "Number of points"];

/** A metric's other columns: its summaries and its small chart. */
function metricItems({ id }: Column): MenuItem[] {
  const summary = summaryOf(id);
  const spark = id.startsWith("spark.");
  if (!id.startsWith("metrics.") && !spark) return [];
  const name = spark
    ? id.slice("spark.".length)
    : id.slice("metrics.".length, summary ? -summary.length - 1 : undefined);
  const others = [`spark.${name}`, `metrics.${name}`, ...summaries.map((one) => `metrics.${name}.${one}`)];
  return others.map((other, index) => ({
    text: metricTexts[index] ?? other,
    checked: view.shown.some((column) => column.id === other),
    apart: index === 0,
    run: () => (view.shown.some((column) => column.id === other) ? view.remove(other) : view.add(other, id)),
  }));
}
