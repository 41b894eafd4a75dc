/** What was logged by several experiments, put in rows: one for each name and context. */
import { sections, type Section } from "../chart/sections";
import type { MediaItem, MediaKey, MediaKind } from "../wire/media";

export interface MediaRow {
  key: string;
  name: string;
  context: string;
  kind: MediaKind;
  /** The experiments that have it, in the order they are shown. */
  of: { id: string; key: MediaKey }[];
}

const kinds: MediaKind[] = ["image", "figure", "video", "audio", "text", "histogram", "table"];

/** Rows of all experiments; those of a kind stand together, so that cards of one height do. */
export function rowsOf(found: readonly { id: string; keys: readonly MediaKey[] }[], search = ""): Section<MediaRow>[] {
  const rows = new Map<string, MediaRow>();
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  for (const { id, keys } of found) {
    for (const key of keys) {
      const text = `${key.name} ${key.context} ${key.kind}`.toLowerCase();
      if (!words.every((word) => text.includes(word))) continue;
      const place = JSON.stringify([key.name, key.context]);
      const row = rows.get(place);
      if (row) row.of.push({ id, key });
      else rows.set(place, { key: place, name: key.name, context: key.context, kind: key.kind, of: [{ id, key }] });
    }
  }
  return sections([...rows.values()]).map(({ name, items }) => ({
    name: name === "Metrics" ? "Media" : name,
    items: items.sort((a, b) => kinds.indexOf(a.kind) - kinds.indexOf(b.kind)),
  }));
}

/** Steps of all lists, ascending, each once. */
export function unionOf(lists: readonly (readonly number[])[]): number[] {
  return [...new Set(lists.flat())].sort((a, b) => a - b);
}

/** Place of the last of ascending values that is not above `value`; -1 if all are. */
export function lastUpTo(values: readonly number[], value: number): number {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle]! <= value) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** The item that stands at a step: of it, or the last before it; null where nothing is yet. */
export function itemAt(items: readonly MediaItem[], step: number): MediaItem | null {
  const place = lastUpTo(
    items.map((item) => item.step),
    step,
  );
  return items[place] ?? null;
}
