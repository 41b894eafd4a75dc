import { router } from "../../router/router.svelte";
import { getJson, type Params } from "../../wire/api";
import type { ColumnInfo } from "../../wire/types";
import { layOut, ownColumns, rowFields, usualColumns, type Column } from "./columns";
import { filterQuery } from "./filterQuery";
import { parseView, sortNames, viewQuery, type ShownColumn, type ViewState } from "./viewState";

/** Which experiments a view asks for, in which order. */
export function listOf(state: ViewState): Params {
  return {
    q: filterQuery(state) || undefined,
    sort: sortNames(state.sorts),
    archived: state.archived || undefined,
    project: state.project ?? undefined,
  };
}

/** What the page shows: read from the address, and written there. */
class View {
  #infos: readonly ColumnInfo[] | null = $state.raw(null);
  #truncated = $state(false);
  #dragged: { id: string; width: number } | null = $state.raw(null);

  now: ViewState = $derived(parseView(router.current.query));

  infos: ReadonlyMap<string, ColumnInfo> = $derived(
    new Map([...(this.#infos ?? []), ...ownColumns].map((info) => [info.id, info])),
  );

  // As text, which is equal exactly if the same ones are: a sort or a filter lays out no column and no cell anew.
  #chosen: string = $derived(JSON.stringify(this.now.columns ?? usualColumns(this.#infos ?? [])));
  #grouped: boolean = $derived(this.now.groups.length > 0);

  /** The columns that are chosen, or those to begin with. */
  shown: readonly ShownColumn[] = $derived(JSON.parse(this.#chosen) as ShownColumn[]);

  columns: readonly Column[] = $derived.by(() => {
    const dragged = this.#dragged;
    const shown = dragged
      ? this.shown.map((column) => (column.id === dragged.id ? { ...column, width: dragged.width } : column))
      : this.shown;
    return layOut(shown, this.infos, this.#grouped);
  });

  /** Whether those are they already, and not just the fields until the others are told. */
  told: boolean = $derived(this.now.columns !== null || this.#infos !== null);

  /** Columns whose values the server is asked for, in the order in which it gives them. */
  asked: readonly string[] = $derived(
    this.shown.map((column) => column.id).filter((id) => !rowFields.has(id) && !id.startsWith("spark.")),
  );

  /** Which experiments are asked for, in which order, as text: it is equal exactly if the same ones are. */
  list: string = $derived(JSON.stringify(listOf(this.now)));

  /** Whether anything but all experiments is asked for. */
  filtered: boolean = $derived(
    this.now.query !== "" || this.now.statuses.length > 0 || this.now.tags.length > 0 || this.now.project !== null,
  );

  get truncated(): boolean {
    return this.#truncated;
  }

  load = async (): Promise<void> => {
    const { columns, truncated } = await getJson<{ columns: ColumnInfo[]; truncated?: boolean }>("/columns");
    const known = this.#infos?.map((info) => info.id).join("\n");
    if (known === columns.map((info) => info.id).join("\n")) return;
    this.#infos = columns;
    this.#truncated = truncated ?? false;
  };

  update = (changes: Partial<ViewState>, options: { replace?: boolean } = {}): void => {
    router.setQuery(viewQuery({ ...this.now, ...changes }), options);
  };

  setColumns = (columns: readonly ShownColumn[]): void => {
    this.update({ columns: [...columns] }, { replace: true });
  };

  change = (id: string, changes: Partial<ShownColumn>): void => {
    this.setColumns(this.shown.map((column) => (column.id === id ? { ...column, ...changes } : column)));
  };

  add = (id: string, after?: string): void => {
    const shown = this.shown.filter((column) => column.id !== id);
    const at = shown.findIndex((column) => column.id === after);
    const added = { id, width: null, pinned: false };
    this.setColumns(at < 0 ? [...shown, added] : [...shown.slice(0, at + 1), added, ...shown.slice(at + 1)]);
  };

  remove = (id: string): void => this.setColumns(this.shown.filter((column) => column.id !== id));

  /** Shows a width while it is dragged; null keeps the last one. */
  drag = (id: string, width: number | null): void => {
    if (width !== null) this.#dragged = { id, width };
    else if (this.#dragged !== null) {
      this.change(id, { width: this.#dragged.width });
      this.#dragged = null;
    }
  };
}

export const view = new View();
