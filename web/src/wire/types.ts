/** What the server's JSON looks like. Non-finite numbers travel as the strings "NaN", "Infinity", "-Infinity". */
export type Num = number | "NaN" | "Infinity" | "-Infinity";
export type Cell = Num | string | boolean | readonly string[] | null;
export type Status = "pending" | "running" | "completed" | "failed" | "killed" | "crashed" | "damaged";

export interface StoreInfo {
  root: string;
  version: string | number;
  read_only: boolean;
  total: number;
  by_status: Record<string, number>;
  projects: { name: string; count: number }[];
}

export type ColumnKind = "number" | "text" | "bool" | "mixed" | "time" | "tags";

export interface ColumnInfo {
  id: string;
  kind: ColumnKind;
  group: "field" | "config" | "metrics";
  count: number;
}

export interface Row {
  experiment_id: string;
  uid: string;
  name: string;
  status: Status;
  project: string | null;
  created_ms: number;
  updated_ms: number;
  duration_s: number | null;
  /** What of its record cannot be read; null if nothing. */
  damage: string | null;
  tags: string[];
  progress: { step: number | null; epoch: number | null } | null;
  values: Cell[];
}

export interface TablePage {
  total: number;
  version: string | number;
  rows: Row[];
  next: string | null;
}

export interface Statistic {
  mean: Num;
  std: Num | null;
  n: number;
  min: Num;
  max: Num;
}

export interface Group {
  key: Cell[];
  count: number;
  ids: string[];
  statistics: (Statistic | null)[];
}

export interface GroupPage {
  version: string | number;
  groups: Group[];
}

export interface Completion {
  from: number;
  to: number;
  options: { text: string; detail: string }[];
}

export interface Sparklines {
  metric: string;
  lines: Record<string, (Num | null)[]>;
}

/** What the server tells when experiments appear, change or go. `more`: others than those named did too. */
export interface Change {
  version: string | number;
  ids: string[];
  removed: string[];
  more: boolean;
}

export interface Alert {
  experiment_id: string;
  /** The experiment's name. */
  name: string;
  /** Its place in the experiment's record; -1 where it could not be written. */
  position: number;
  title: string;
  text: string;
  level: "info" | "warning" | "error";
  time_ms: number;
  /** The rule of `alerts.yaml` that found it; "" or null for one that the experiment raised. */
  rule: string | null;
}

/** A number of the wire as a number of the language; what is none is null. */
export function numberOf(value: unknown): number | null {
  if (typeof value === "number") return value;
  if (value === "NaN") return NaN;
  if (value === "Infinity") return Infinity;
  if (value === "-Infinity") return -Infinity;
  return null;
}
