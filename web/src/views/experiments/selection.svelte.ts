import { SvelteSet } from "svelte/reactivity";

/** The experiments that are marked, whatever the order of the table; kept while it is sorted and filtered. */
class Selection {
  #ids = new SvelteSet<string>();
  #last: string | null = null;

  get size(): number {
    return this.#ids.size;
  }

  get ids(): string[] {
    return [...this.#ids];
  }

  has(id: string): boolean {
    return this.#ids.has(id);
  }

  toggle = (id: string): void => {
    if (!this.#ids.delete(id)) this.#ids.add(id);
    this.#last = id;
  };

  /** Marks all from the one that was marked last to this one; `order` are the ids in the order that is shown. */
  extend = (id: string, order: readonly string[]): void => {
    const from = this.#last === null ? -1 : order.indexOf(this.#last);
    const to = order.indexOf(id);
    if (from < 0 || to < 0) return this.toggle(id);
    for (const one of order.slice(Math.min(from, to), Math.max(from, to) + 1)) this.#ids.add(one);
    this.#last = id;
  };

  add = (ids: readonly string[]): void => ids.forEach((id) => this.#ids.add(id));

  remove = (ids: readonly string[]): void => ids.forEach((id) => this.#ids.delete(id));

  set = (ids: readonly string[]): void => {
    if (ids.length === this.#ids.size && ids.every((id) => this.#ids.has(id))) return;
    this.#ids.clear();
    this.add(ids);
  };
}

export const selection = new Selection();
