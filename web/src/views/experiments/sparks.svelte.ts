import { SvelteMap } from "svelte/reactivity";
import { getJson } from "../../wire/api";
import { numberOf, type Sparklines } from "../../wire/types";
import { sparkOf } from "./columns";

const points = 32;
const settle = 60;
const atOnce = 100;
const most = 4000;

/** Small charts of the rows that are seen, fetched once the scrolling settles and no other rows are awaited. */
export class Sparks {
  #awaited: () => boolean;
  #lines = new SvelteMap<string, (number | null)[]>();
  #stale = new Set<string>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param awaited whether other rows are on their way, which come later if the server is asked for more */
  constructor(awaited: () => boolean) {
    this.#awaited = awaited;
  }

  line(column: string, id: string): (number | null)[] | undefined {
    return this.#lines.get(`${column} ${id}`);
  }

  /** These experiments have changed: their lines are fetched again when they are seen. */
  changed(ids: readonly string[]): void {
    for (const id of ids) this.#stale.add(id);
  }

  want(columns: readonly string[], ids: readonly string[]): void {
    clearTimeout(this.#timer);
    if (columns.length === 0) return;
    this.#timer = setTimeout(() => {
      if (this.#awaited()) this.want(columns, ids);
      else this.#fetchAll(columns, ids);
    }, settle);
  }

  #fetchAll(columns: readonly string[], ids: readonly string[]): void {
    if (this.#lines.size > most) this.#lines.clear();
    for (const column of columns) {
      const missing = ids.filter((id) => this.#stale.has(id) || !this.#lines.has(`${column} ${id}`));
      if (missing.length > 0) void this.#fetch(column, missing.slice(0, atOnce));
    }
    for (const id of ids) this.#stale.delete(id);
  }

  async #fetch(column: string, ids: readonly string[]): Promise<void> {
    try {
      const { lines } = await getJson<Sparklines>("/sparklines", { ...sparkOf(column), ids, n: points });
      for (const id of ids) this.#lines.set(`${column} ${id}`, (lines[id] ?? []).map(numberOf));
    } catch {
      // A small chart that cannot be had stays empty; the table itself says what is wrong.
    }
  }
}
