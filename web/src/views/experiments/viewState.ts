/** What the page of experiments shows, and how an address says it. Nothing else is needed to show the same again. */
export interface Sort {
  id: string;
  descending: boolean;
}

export interface ShownColumn {
  id: string;
  /** In pixels; null for the width of its kind. */
  width: number | null;
  pinned: boolean;
}

export interface ViewState {
  query: string;
  statuses: string[];
  tags: string[];
  project: string | null;
  archived: boolean;
  sorts: Sort[];
  /** Null: the columns chosen for the folder. */
  columns: ShownColumn[] | null;
  groups: string[];
  charts: boolean;
  selected: string[];
}

export const emptyView: ViewState = {
  query: "",
  statuses: [],
  tags: [],
  project: null,
  archived: false,
  sorts: [],
  columns: null,
  groups: [],
  charts: false,
  selected: [],
};

export const narrowest = 48;
export const widest = 1200;
/** More selected experiments than this are not named in the address. */
export const mostSelected = 100;

const keys = ["q", "status", "tags", "project", "archived", "sort", "columns", "group", "charts", "selected"] as const;

export function parseView(query: URLSearchParams): ViewState {
  return {
    query: query.get("q") ?? "",
    statuses: parseList(query.get("status")),
    tags: parseList(query.get("tags")),
    project: query.get("project"),
    archived: query.get("archived") === "1",
    sorts: parseList(query.get("sort")).map((text) => ({ id: text.replace(/^-/, ""), descending: text[0] === "-" })),
    columns: query.has("columns") ? parseColumns(query.get("columns")) : null,
    groups: parseList(query.get("group")),
    charts: query.get("charts") === "1",
    selected: parseList(query.get("selected")),
  };
}

/** The keys of the address for a view; null for those it does without. */
export function viewQuery(view: ViewState): Record<(typeof keys)[number], string | null> {
  const selected = view.selected.length <= mostSelected ? view.selected : [];
  return {
    q: view.query || null,
    status: formatList(view.statuses),
    tags: formatList(view.tags),
    project: view.project,
    archived: view.archived ? "1" : null,
    sort: formatList(sortNames(view.sorts)),
    columns: view.columns?.map(formatColumn).join(",") ?? null,
    group: formatList(view.groups),
    charts: view.charts ? "1" : null,
    selected: formatList(selected),
  };
}

/** Sorts as names with `-` before those that descend, `-created_at`. */
export function sortNames(sorts: readonly Sort[]): string[] {
  return sorts.map(({ id, descending }) => (descending ? "-" : "") + id);
}

// A list is joined by commas; a comma inside an element is escaped, and so are the marks of a column.
function escape(text: string): string {
  return text.replace(/[%,~!]/g, (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`);
}

function unescape(text: string): string {
  return text.replace(/%(25|2C|7E|21)/g, (_, code: string) => String.fromCharCode(parseInt(code, 16)));
}

function parseList(text: string | null): string[] {
  return (text ?? "").split(",").filter(Boolean).map(unescape);
}

function formatList(items: readonly string[]): string | null {
  return items.length === 0 ? null : items.map(escape).join(",");
}

// `name!~240` is the column `name`, pinned, 240 pixels wide.
function parseColumns(text: string | null): ShownColumn[] {
  const seen = new Set<string>();
  const columns: ShownColumn[] = [];
  for (const part of (text ?? "").split(",").filter(Boolean)) {
    const [, id = "", pin, width] = /^([^~!]*)(!?)(?:~(\d+))?$/.exec(part) ?? [];
    if (id === "" || seen.has(id)) continue;
    seen.add(id);
    const pixels = width === undefined ? null : Math.max(narrowest, Math.min(widest, Number(width)));
    columns.push({ id: unescape(id), width: pixels, pinned: pin === "!" });
  }
  return columns;
}

function formatColumn({ id, width, pinned }: ShownColumn): string {
  return escape(id) + (pinned ? "!" : "") + (width === null ? "" : `~${Math.round(width)}`);
}

/** The order of columns after one was clicked: first the way that is looked for, then the other, then none. */
export function cycleSort(sorts: readonly Sort[], id: string, descendingFirst: boolean, add: boolean): Sort[] {
  const now = sorts.find((sort) => sort.id === id);
  const next = now === undefined ? descendingFirst : now.descending === descendingFirst ? !descendingFirst : null;
  const changed = next === null ? [] : [{ id, descending: next }];
  if (!add) return changed;
  if (now === undefined) return [...sorts, ...changed];
  return sorts.flatMap((sort) => (sort.id === id ? changed : [sort]));
}

/** The list with the element at `from` moved to stand at `to`. */
export function moved<T>(items: readonly T[], from: number, to: number): T[] {
  const rest = [...items];
  const taken = rest.splice(from, 1);
  rest.splice(Math.max(0, Math.min(rest.length, to)), 0, ...taken);
  return rest;
}
