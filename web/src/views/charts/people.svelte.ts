import { getJson } from "../../wire/api";
import type { Cell } from "../../wire/types";
import { naturally } from "../../values/order";

interface Quantities {
  ids: string[];
  columns: { id: string; values: Cell[] }[];
}

export interface Group {
  key: string;
  ids: string[];
}

const told = (cell: Cell | undefined): string =>
  cell === null || cell === undefined ? "none" : Array.isArray(cell) ? cell.join(", ") : String(cell);

/** Names of the experiments of a panel, and the groups they fall into. */
export class People {
  names: ReadonlyMap<string, string> = $state.raw(new Map());
  /** null: not grouped, or not known yet. */
  groups: Group[] | null = $state.raw(null);
  error: unknown = $state.raw(null);

  load = async (ids: readonly string[], by: string, signal: AbortSignal): Promise<void> => {
    if (by === "") this.groups = null;
    if (ids.length === 0) return;
    const columns = by === "" ? ["name"] : ["name", by];
    try {
      const found = await getJson<Quantities>("/quantities", { ids: [...ids], columns }, signal);
      const values = (id: string): Cell[] => found.columns.find((c) => c.id === id)?.values ?? [];
      const names = values("name");
      this.names = new Map(found.ids.map((id, i) => [id, told(names[i])]));
      if (by !== "") this.groups = grouped(found.ids, values(by));
      this.error = null;
    } catch (error) {
      if (!signal.aborted) this.error = error;
    }
  };
}

function grouped(ids: readonly string[], keys: readonly Cell[]): Group[] {
  const found = new Map<string, string[]>();
  ids.forEach((id, i) => {
    const key = told(keys[i]);
    found.set(key, [...(found.get(key) ?? []), id]);
  });
  return [...found].map(([key, members]) => ({ key, ids: members })).sort((a, b) => naturally(a.key, b.key));
}
