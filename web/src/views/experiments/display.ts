import {
  formatAge,
  formatCell,
  formatDuration,
  formatMeasure,
  formatTime,
  formatWhole,
  fullCell,
} from "../../ui/format";
import { numberOf, type Cell, type Num, type Row } from "../../wire/types";
import type { Column } from "./columns";

/** What a cell says, short, and in full. */
export interface Display {
  text: string;
  title: string;
}

const nothing: Display = { text: "", title: "" };

/** The fields that stand in the row itself. */
const fields: Record<string, (row: Row) => Cell> = {
  experiment_id: (row) => row.experiment_id,
  project: (row) => row.project,
  created_at: (row) => row.created_ms,
  updated_at: (row) => row.updated_ms,
  duration_s: (row) => row.duration_s,
};

/** The value of a field of the row; undefined for any other column. */
export function fieldOf(row: Row, column: string): Cell | undefined {
  return fields[column]?.(row);
}

/** A cell of text or numbers. `now` is asked only by what tells of time. */
export function display(
  row: Row,
  column: Pick<Column, "id" | "kind">,
  value: Cell | undefined,
  now: () => number,
): Display {
  if (column.kind === "time" && typeof value === "number") {
    return { text: formatAge(value, now()), title: formatTime(value) };
  }
  if (column.kind === "duration") return span(typeof value === "number" ? value : sinceStart(row, now));
  if (column.kind === "progress") return alike(progress(row));
  if (value === null || value === undefined) return nothing;
  if (column.id === "git_hash") return { text: fullCell(value).slice(0, 8), title: fullCell(value) };
  const measured = column.id.startsWith("metrics.") && numberOf(value) !== null;
  return { text: measured ? formatMeasure(value as Num) : formatCell(value), title: fullCell(value) };
}

/** How far an experiment is, `epoch 3 · step 1,200`. */
export function progress(row: Row): string {
  const { step = null, epoch = null } = row.progress ?? {};
  const parts = [epoch === null ? "" : `epoch ${epoch}`, step === null ? "" : `step ${formatWhole(step)}`];
  return parts.filter(Boolean).join(" · ");
}

function sinceStart(row: Row, now: () => number): number | null {
  return row.status === "running" ? (now() - row.created_ms) / 1000 : null;
}

function span(seconds: number | null): Display {
  return seconds === null ? nothing : { text: formatDuration(seconds), title: `${seconds.toFixed(1)} s` };
}

function alike(text: string): Display {
  return { text, title: text };
}
