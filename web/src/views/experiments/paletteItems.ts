import type { PaletteItem, PaletteSource } from "../../state/palette.svelte";
import { getJson } from "../../wire/api";
import type { ColumnInfo } from "../../wire/types";
import { compare, toggleAll } from "./bulk";
import { labelOf } from "./columns";
import { selection } from "./selection.svelte";
import { view } from "./view.svelte";

/** What the palette offers while the table is shown: what can be done with it, and columns by name. */
export function tableSource(search: () => void): PaletteSource {
  const actions = (): Omit<PaletteItem, "id" | "group">[] => [
    { text: view.now.charts ? "Hide the charts" : "Show charts beside the table", detail: "c", run: toggleCharts },
    { text: "Write a query", detail: "/", run: () => setTimeout(search) },
    { text: "Compare the selected experiments", detail: "d", run: () => compare(selection.ids) },
    { text: "Select all that fit, or none", detail: "Ctrl A", run: () => void toggleAll() },
    { text: "Show the archived", run: () => view.update({ archived: !view.now.archived }) },
    { text: "Sort by the newest", run: () => view.update({ sorts: [] }) },
  ];
  return async (text, signal) => {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    const items = actions()
      .filter((action) => words.every((word) => action.text.toLowerCase().includes(word)))
      .map((action) => ({ ...action, id: `table:${action.text}`, group: "Table" }));
    if (text === "") return items;
    const { columns } = await getJson<{ columns: ColumnInfo[] }>("/columns", { search: text, limit: 8 }, signal);
    return [...items, ...columns.filter((info) => info.group !== "field").flatMap(columnItems)];
  };
}

function columnItems({ id, group }: ColumnInfo): PaletteItem[] {
  const kind = group === "metrics" ? "metric" : "param";
  const sort = { id: `sort:${id}`, text: `Sort by ${labelOf(id)}`, detail: kind, group: "Columns" };
  const sorted = { ...sort, run: () => view.update({ sorts: [{ id, descending: false }] }) };
  if (view.shown.some((column) => column.id === id)) return [sorted];
  return [
    { ...sort, id: `column:${id}`, text: `Add the column ${labelOf(id)}`, run: () => view.add(id, "name") },
    sorted,
  ];
}

function toggleCharts() {
  view.update({ charts: !view.now.charts });
}
