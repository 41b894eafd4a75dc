/** Cells of tables that were logged: what they say, and how wide their columns are. */
import { formatNumber } from "../chart/format";
import { numberOf } from "../wire/types";
import type { TableCell } from "../wire/media";

export interface Picture {
  image: string;
  width: number;
  height: number;
}

type Cell = TableCell | string | undefined;

export function pictureOf(cell: Cell): Picture | null {
  return typeof cell === "object" && cell !== null && "image" in cell ? cell : null;
}

export function isNumber(cell: Cell): boolean {
  return typeof cell === "number" || (typeof cell === "object" && cell !== null && "number" in cell);
}

/** What a cell says; what is empty says nothing. */
export function cellText(cell: Cell): string {
  if (cell === null || cell === undefined) return "";
  if (typeof cell === "number")
    return Number.isInteger(cell) ? String(cell).replace("-", "\u2212") : formatNumber(cell, 6);
  if (typeof cell === "boolean") return cell ? "true" : "false";
  if (typeof cell === "string") return cell;
  if ("image" in cell) return "";
  const spoken: Record<string, string> = { nan: "NaN", inf: "Infinity", "-inf": "-Infinity" };
  return formatNumber(numberOf(spoken[cell.number] ?? cell.number) ?? NaN);
}

/** Widths of columns in characters, from their names and the rows seen first: they stay while one scrolls. */
export function columnWidths(columns: readonly string[], rows: readonly (readonly Cell[])[]): number[] {
  return columns.map((name, column) => {
    let most = name.length + 3;
    // Texts further down may be longer; numbers seldom are.
    if (rows.some((row) => typeof row[column] === "string")) most = Math.max(most, 14);
    for (const row of rows) {
      most = Math.max(most, pictureOf(row[column]) ? 9 : cellText(row[column]).length);
    }
    return Math.min(48, Math.max(5, most)) + 3;
  });
}

/** The next order of a column that is pressed: ascending, descending, as logged. */
export function nextOrder(
  now: { sort: number | null; descending: boolean },
  column: number,
): { sort: number | null; descending: boolean } {
  if (now.sort !== column) return { sort: column, descending: false };
  return now.descending ? { sort: null, descending: false } : { sort: column, descending: true };
}

/** Numbers of the pages that rows from `first` up to `last`, exclusive, lie on. */
export function pagesOf(first: number, last: number, size: number): number[] {
  const from = Math.floor(first / size);
  const to = Math.ceil(last / size);
  return Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i);
}
