import { live } from "../../state/live.svelte";
import { getJson, isAbort, type Params } from "../../wire/api";
import type { Group, GroupPage, Row, TablePage } from "../../wire/types";
import { idsQuery } from "./filterQuery";
import { placesOf } from "./rows.svelte";

/** One line of the table. A row that is not fetched yet is undefined. */
export type Item = { group: Group; open: boolean; name: string } | { row: Row | undefined; inside: boolean };

const most = 500;

/** Experiments gathered by columns: each group a line, its experiments below it when it is open. */
export class Groups {
  #groups: readonly Group[] = $state.raw([]);
  #rows: Record<string, readonly Row[]> = $state.raw({});
  #open: ReadonlySet<string> = $state.raw(new Set<string>());
  #known = $state(false);
  #busy = $state(false);
  #error: unknown = $state.raw(null);
  #asked = "";
  #shown = "";
  #params: Params = {};
  #columns: readonly string[] = [];
  #places: ReadonlyMap<string, number> = $state.raw(new Map<string, number>());
  #control = new AbortController();

  get known(): boolean {
    return this.#known;
  }

  get busy(): boolean {
    return this.#busy;
  }

  get error(): unknown {
    return this.#error;
  }

  /** Where the values of a column stand in rows and statistics. */
  get places(): ReadonlyMap<string, number> {
    return this.#places;
  }

  get count(): number {
    return this.#groups.length;
  }

  /** How many experiments are in all groups. */
  get total(): number {
    return this.#groups.reduce((sum, group) => sum + group.count, 0);
  }

  items: readonly Item[] = $derived.by(() =>
    this.#groups.flatMap((group): Item[] => {
      const name = JSON.stringify(group.key);
      const open = this.#open.has(name);
      const line: Item = { group, open, name };
      if (!open) return [line];
      const rows: readonly (Row | undefined)[] =
        this.#rows[name] ?? Array.from<undefined>({ length: Math.min(group.ids.length, most) });
      return [line, ...rows.map((row) => ({ row, inside: true }))];
    }),
  );

  /** The rows that are here, in order. */
  get here(): Row[] {
    return this.items.flatMap((item) => ("row" in item && item.row ? [item.row] : []));
  }

  ask = (params: Params, columns: readonly string[]): void => {
    const asked = JSON.stringify(params);
    if (asked === this.#asked) return;
    const others = this.#params.by !== undefined && String(this.#params.by) !== String(params.by);
    this.#asked = asked;
    this.#params = params;
    this.#columns = columns;
    if (others) this.#open = new Set();
    void this.refresh();
  };

  refresh = async (): Promise<void> => {
    this.#control.abort();
    const control = new AbortController();
    this.#control = control;
    this.#busy = true;
    try {
      const asked = this.#asked;
      const { groups, version } = await getJson<GroupPage>("/experiments/groups", this.#params, control.signal);
      if (this.#shown !== asked) this.#rows = {};
      this.#shown = asked;
      this.#groups = groups;
      this.#places = placesOf(this.#columns);
      if (!this.#known) live.shownAsOf(version);
      this.#known = true;
      this.#error = null;
      const open = groups.filter((group) => this.#open.has(JSON.stringify(group.key)));
      await Promise.all(open.map((group) => this.#fetch(group, control.signal)));
    } catch (error) {
      if (isAbort(error)) return;
      this.#error = error;
    }
    this.#busy = false;
  };

  /** The same groups with what changed meanwhile. */
  update = async (): Promise<void> => {
    if (!this.#busy && this.#known) await this.refresh();
  };

  toggle = (group: Group): void => {
    const name = JSON.stringify(group.key);
    const open = new Set(this.#open);
    if (!open.delete(name)) {
      open.add(name);
      this.#fetch(group, this.#control.signal).catch((error: unknown) => {
        if (!isAbort(error)) this.#error = error;
      });
    }
    this.#open = open;
  };

  async #fetch(group: Group, signal: AbortSignal): Promise<void> {
    const { columns, sort } = this.#params;
    const params = { q: idsQuery(group.ids.slice(0, most)), columns, sort, archived: true, limit: most };
    const page = await getJson<TablePage>("/experiments", params, signal);
    this.#rows = { ...this.#rows, [JSON.stringify(group.key)]: page.rows };
  }
}
