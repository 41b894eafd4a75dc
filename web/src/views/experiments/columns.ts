import type { ColumnInfo, ColumnKind } from "../../wire/types";
import type { ShownColumn } from "./viewState";

/** A column as the table draws it. */
export interface Column extends ShownColumn {
  label: string;
  kind: ColumnKind | "name" | "status" | "progress" | "spark" | "duration" | "notes";
  px: number;
  /** Its number among all columns that are shown. */
  place: number;
  /** Distance from the left edge of its part, pinned or not. */
  left: number;
}

export const summaries = ["min", "max", "mean", "first", "count"] as const;

const fieldLabels: Record<string, string> = {
  name: "Name",
  experiment_id: "Id",
  project: "Project",
  status: "Status",
  created_at: "Created",
  updated_at: "Updated",
  duration_s: "Duration",
  progress: "Progress",
  tags: "Tags",
  git_hash: "Commit",
  git_branch: "Branch",
  git_dirty: "Uncommitted",
  notes: "Notes",
  description: "Description",
};

const widths: Record<Column["kind"], number> = {
  name: 280,
  status: 136,
  progress: 112,
  spark: 112,
  duration: 88,
  number: 96,
  text: 128,
  bool: 72,
  mixed: 112,
  time: 104,
  tags: 168,
  notes: 200,
};

const widestLabel = 180;

/** Columns that stand in every row, whatever is asked of the server. */
export const rowFields = new Set(["name", "experiment_id", "project", "status", "created_at", "updated_at"]);
["duration_s", "tags", "progress"].forEach((field) => rowFields.add(field));

/** Columns the client adds: how far a running experiment is. */
export const ownColumns: ColumnInfo[] = [{ id: "progress", kind: "text", group: "field", count: 0 }];

/** `metrics.loss@val.min` is called `loss@val min`, `spark.loss` `loss`. */
export function labelOf(id: string): string {
  const field = fieldLabels[id];
  if (field !== undefined) return field;
  const [collection, rest] = split(id);
  if (collection === "config" || collection === "spark") return rest;
  if (collection !== "metrics") return id;
  const summary = summaryOf(id);
  return summary === null ? rest : `${rest.slice(0, -summary.length - 1)} ${summary}`;
}

/** The summary a metric's column names, or null for its last value. */
export function summaryOf(id: string): string | null {
  return /^metrics\..+\.(min|max|mean|first|count)$/.exec(id)?.[1] ?? null;
}

/** The metric and context a sparkline shows, `spark.loss@val`. */
export function sparkOf(id: string): { metric: string; context: string } {
  const name = id.slice("spark.".length);
  const at = name.lastIndexOf("@");
  return at < 0 ? { metric: name, context: "" } : { metric: name.slice(0, at), context: name.slice(at + 1) };
}

export function kindOf(id: string, infos: ReadonlyMap<string, ColumnInfo>): Column["kind"] {
  if (id === "name" || id === "status" || id === "progress") return id;
  if (id === "notes" || id === "description") return "notes";
  if (id === "duration_s") return "duration";
  if (id.startsWith("spark.")) return "spark";
  if (id.startsWith("metrics.")) return "number";
  if (id === "created_at" || id === "updated_at") return "time";
  return id === "tags" ? "tags" : (infos.get(id)?.kind ?? "text");
}

export function isNumeric(kind: Column["kind"]): boolean {
  return kind === "number" || kind === "duration" || kind === "time" || kind === "progress";
}

/** Times are looked for newest first, all else smallest first. */
export function descendingFirst(kind: Column["kind"]): boolean {
  return kind === "time";
}

export function canSort(kind: Column["kind"]): boolean {
  return kind !== "spark" && kind !== "progress";
}

export function canGroup(id: string): boolean {
  return ["project", "status", "tags", "git_hash", "git_branch", "git_dirty"].includes(id) || id.startsWith("config.");
}

/**
 * Columns to begin with: the fields, then the metrics and params that most experiments have, losses first. Before
 * those are told there are the fields alone, and the others come in to the right of them.
 */
export function usualColumns(infos: readonly ColumnInfo[]): ShownColumn[] {
  const most = (group: string, count: number) =>
    infos
      .filter((info) => info.group === group)
      .map((info, index) => ({
        info,
        index,
        rank: info.count * (/loss/.test(info.id) ? 3 : /acc/.test(info.id) ? 2 : 1),
      }))
      .sort((a, b) => b.rank - a.rank || a.index - b.index)
      .slice(0, count)
      .map(({ info }) => info.id);
  const metrics = most("metrics", 3);
  const spark = metrics.slice(0, 1).map((id) => id.replace(/^metrics\./, "spark."));
  const fields = ["name", "status", "created_at", "duration_s", "tags"];
  const ids = [...fields, ...spark, ...metrics, ...most("config", 4)];
  return ids.map((id) => ({ id, width: null, pinned: id === "name" }));
}

/** A width in which a column's name can be read, and a mean with its deviation where experiments are grouped. */
function usualWidth(kind: Column["kind"], label: string, grouped: boolean): number {
  const least = grouped && isNumeric(kind) ? 136 : widths[kind];
  return Math.max(least, Math.min(widestLabel, label.length * 7 + 44));
}

/** Columns laid out from left to right, the pinned ones before the others. */
export function layOut(
  shown: readonly ShownColumn[],
  infos: ReadonlyMap<string, ColumnInfo>,
  grouped = false,
): Column[] {
  let pinned = 0;
  let rest = 0;
  return [...shown.filter((column) => column.pinned), ...shown.filter((column) => !column.pinned)].map(
    (column, place) => {
      const kind = kindOf(column.id, infos);
      const label = labelOf(column.id);
      const px = column.width ?? usualWidth(kind, label, grouped);
      const left = column.pinned ? pinned : rest;
      if (column.pinned) pinned += px;
      else rest += px;
      return { ...column, label, kind, px, place, left };
    },
  );
}

/** Those of the columns that are not pinned that reach into the part from `left`, `width` wide, with one more each way. */
export function columnsIn(columns: readonly Column[], left: number, width: number): Column[] {
  let first = columns.findIndex((column) => column.left + column.px > left);
  if (first < 0) return columns.slice(-1);
  let last = first;
  while (last < columns.length && columns[last]!.left < left + width) last++;
  first = Math.max(0, first - 1);
  return columns.slice(first, last + 1);
}

function split(id: string): [string, string] {
  const dot = id.indexOf(".");
  return dot < 0 ? ["", id] : [id.slice(0, dot), id.slice(dot + 1)];
}
