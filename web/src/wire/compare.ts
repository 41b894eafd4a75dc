/** What the server tells of several experiments side by side. */
import type { Num, Status } from "./types";

export interface Compared {
  experiment_id: string;
  uid: string;
  name: string;
  project: string;
  status: Status;
  created_ms: number;
  duration_s: number | null;
  tags: string[];
  git: { commit?: string | null; branch?: string | null; dirty?: boolean | null };
}

export interface SideRow {
  key: string;
  /** In the order of the experiments. */
  values: unknown[];
  differs: boolean;
}

/** Who is compared, without what differs. */
export interface Named {
  experiments: Compared[];
  missing: string[];
}

export interface CompareReply extends Named {
  params: SideRow[];
  metrics: { name: string; values: (Num | null)[]; differs: boolean }[];
  environment: SideRow[];
  more: boolean;
}

export interface Change {
  key: string;
  kind: "added" | "removed" | "changed";
  a: unknown;
  b: unknown;
}

export interface Cause {
  part: string;
  key: string;
  title: string;
  evidence: string;
  remark: string;
  weight: number;
  strength: "likely" | "possible" | "unlikely";
}

export interface SeriesDiff {
  name: string;
  context: string;
  state: "identical" | "parts" | "shorter" | "missing" | "damaged";
  points: [number, number];
  same_points: number;
  divergence: {
    position: number;
    columns: string[];
    steps: [number, number];
    values: [Num, Num];
    ulps: number | null;
    is_rounding: boolean;
    difference: Num;
    relative: Num;
  } | null;
  last_steps: [number | null, number | null];
}

export const parts = [
  "config",
  "data",
  "randomness",
  "packages",
  "command",
  "variables",
  "interpreter",
  "hardware",
  "platform",
  "course",
  "artifacts",
] as const;

export type Diff = Record<(typeof parts)[number], Change[]> & {
  verdict: string;
  causes: Cause[];
  same_metrics: boolean;
  first: SeriesDiff | null;
  series: SeriesDiff[];
  code: {
    basis: string;
    differs: boolean;
    notes: string[];
    files: { path: string; patch: string; only_layout: boolean }[];
  };
  gaps: string[];
};

export interface Quantities {
  ids: string[];
  columns: { id: string; kind: string; values: unknown[] }[];
  total: number;
}

export interface Importances {
  importances: { param: string; importance: Num; std: Num; correlation: Num | null }[];
  metric: string;
  n: number;
  score: Num;
  caveat: string;
  caveats: string[];
}
