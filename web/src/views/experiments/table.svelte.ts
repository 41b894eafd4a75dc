import type { Params } from "../../wire/api";
import type { Cell, Group, Row } from "../../wire/types";
import { Groups, type Item } from "./groups.svelte";
import { Rows } from "./rows.svelte";
import { Sparks } from "./sparks.svelte";
import { listOf, view } from "./view.svelte";

const duration = "duration_s";

/** The lines of the table: experiments, or groups of them. Kept while other pages are shown. */
class Table {
  readonly rows = new Rows();
  readonly groups = new Groups();
  readonly sparks = new Sparks(() => this.busy || this.rows.prepared);
  /** The line the keyboard is at. */
  active = $state(0);
  /** Where the table is scrolled to. */
  top = 0;

  grouped: boolean = $derived(view.now.groups.length > 0);

  #source: Rows | Groups = $derived(this.grouped ? this.groups : this.rows);

  get known(): boolean {
    return this.#source.known;
  }

  get busy(): boolean {
    return this.#source.busy;
  }

  get error(): unknown {
    return this.#source.error;
  }

  /** How many experiments fit what is asked. */
  get total(): number {
    return this.#source.total;
  }

  /** How many lines there are. */
  get count(): number {
    return this.grouped ? this.groups.items.length : this.rows.total;
  }

  item(index: number): Item {
    return this.grouped
      ? (this.groups.items[index] ?? { row: undefined, inside: false })
      : { row: this.rows.at(index), inside: false };
  }

  row(index: number): Row | undefined {
    const item = this.item(index);
    return "row" in item ? item.row : undefined;
  }

  /** The experiments that are here, in order. */
  get here(): Row[] {
    return this.#source.here;
  }

  value(row: Row, column: string): Cell | undefined {
    const place = this.#source.places.get(column);
    return place === undefined ? undefined : row.values[place];
  }

  statistic(group: Group, column: string): Group["statistics"][number] {
    const place = this.groups.places.get(column);
    return place === undefined ? null : (group.statistics[place] ?? null);
  }

  /** Shows what the view asks for. */
  ask = (): void => {
    const params = { ...(JSON.parse(view.list) as Params), columns: view.asked };
    if (this.grouped) {
      const lasts = view.shown.some((column) => column.id === duration) ? [duration] : [];
      const columns = [...view.asked, ...lasts];
      this.groups.ask({ ...params, by: view.now.groups, columns }, columns);
    } else this.rows.ask(params, view.asked, view.told);
  };

  /** Lets the rows of another query come before the address asks for them; null: it will not. */
  prepare = (query: string | null): void => {
    if (this.grouped) return;
    this.rows.prepare(query === null ? null : { ...listOf({ ...view.now, query }), columns: view.asked });
  };

  refresh = (): Promise<void> => this.#source.refresh();

  /** Takes over what changed meanwhile; `reorder`: lines may move. */
  update = (ids: readonly string[], reorder: boolean): Promise<void> => {
    this.sparks.changed(ids);
    return this.grouped ? this.groups.update() : this.rows.update(reorder);
  };
}

export const table = new Table();
