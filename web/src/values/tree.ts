/** Nested values as rows of a tree: those that are open, or, while searching, those that fit. */

export interface TreeRow {
  /** Keys from the top, joined by dots, as params are named; keys with dots make no difference to what is shown. */
  path: string;
  key: string;
  depth: number;
  value: unknown;
  /** How many values are below it; null for a value that has none below. */
  size: number | null;
  open: boolean;
}

export function isBranch(value: unknown): value is Record<string, unknown> | unknown[] {
  if (typeof value !== "object" || value === null) return false;
  return Array.isArray(value) ? value.some(isBranch) : true;
}

/**
 * The rows to show.
 *
 * @param closed paths of branches that are closed
 * @param search words that all have to stand in a row's path or value; what holds such rows is shown with them
 */
export function rowsOf(value: unknown, closed: ReadonlySet<string>, search = ""): TreeRow[] {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const rows: TreeRow[] = [];
  const walk = (branch: unknown, path: string, depth: number): boolean => {
    let found = false;
    for (const [key, child] of Object.entries(branch as object)) {
      const here = path === "" ? key : `${path}.${key}`;
      const size = isBranch(child) ? Object.keys(child).length : null;
      const open = size !== null && size > 0 && (words.length > 0 || !closed.has(here));
      const at = rows.length;
      rows.push({ path: here, key, depth, value: child, size, open });
      const below = open && walk(child, here, depth + 1);
      const fits = size === null || size === 0 ? fitting(`${here} ${textOf(child)}`, words) : false;
      if (words.length > 0 && !below && !fits) rows.length = at;
      else found = true;
    }
    return found;
  };
  if (isBranch(value)) walk(value, "", 0);
  return rows;
}

function fitting(text: string, words: string[]): boolean {
  const lower = text.toLowerCase();
  return words.every((word) => lower.includes(word));
}

/** A value as it is written in a config. */
export function textOf(value: unknown): string {
  if (typeof value === "string") return value;
  if (value === undefined) return "";
  if (Array.isArray(value))
    return `[${value.map((one) => (typeof one === "string" ? JSON.stringify(one) : textOf(one))).join(", ")}]`;
  return JSON.stringify(value) ?? String(value);
}

/** What colour a value has: its type. */
export function typeOf(value: unknown): "text" | "number" | "bool" | "null" | "list" {
  if (value === null || value === undefined) return "null";
  if (typeof value === "number") return "number";
  if (typeof value === "boolean") return "bool";
  return typeof value === "string" ? "text" : "list";
}
