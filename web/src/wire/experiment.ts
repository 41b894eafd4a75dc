/** What the server tells of one experiment. Times are Unix milliseconds. */
import type { Num, Status } from "./types";

export interface Note {
  text: string;
  time_ms: number;
}

export interface Artifact {
  name: string;
  artifact_type: string;
  version: number;
  size_bytes: number;
  digest: string;
  logged_ms: number;
}

export interface Git {
  commit?: string | null;
  branch?: string | null;
  dirty?: boolean | null;
  remote?: string | null;
  /** Address of the commit in the browser, where the remote has one. */
  link?: string | null;
  [more: string]: unknown;
}

export interface Parent {
  relation?: "fork" | "reproduction" | (string & {});
  experiment_id?: string;
  uid?: string;
  step?: number;
}

export interface ExperimentDetail {
  experiment_id: string;
  uid: string;
  name: string;
  project: string;
  description: string;
  status: Status;
  reason: string;
  tags: string[];
  notes: Note[];
  config: Record<string, unknown>;
  created_ms: number;
  updated_ms: number;
  started_ms: number | null;
  ended_ms: number | null;
  duration_s: number | null;
  path?: string;
  git: Git;
  environment: Record<string, unknown>;
  parent: Parent;
  forks: string[];
  rewinds: { step: number; time_ms: number }[];
  artifacts: Artifact[];
  is_live: boolean;
  damage: string[];
  missing?: string | null;
  progress?: { step: number | null; epoch: number | null } | null;
}

export interface MetricSummary {
  name: string;
  context: string;
  count: number;
  last: Num;
  min: Num;
  max: Num;
  mean: Num;
  last_step: number;
  last_time_ms: number;
}

export interface MetricPage {
  total: number;
  metrics: MetricSummary[];
}

export interface ConsolePage {
  from: number;
  to: number;
  size: number;
  text: string;
  /** A line begins at `from`. */
  begins: boolean;
  live: boolean;
}

export interface ConsoleMatches {
  matches: { byte: number; line: number | null; text: string }[];
  more: boolean;
}

export interface Preview {
  kind: "text" | "json" | "yaml" | "csv" | "markdown" | "image" | "audio" | "video" | "binary";
  text?: string | null;
  rows?: string[][] | null;
  truncated: boolean;
  size_bytes: number;
}

/** A fact of the machine or a setting, as it was recorded. */
export type Facts = Record<string, unknown>;

export interface Provenance {
  git: Git;
  code: {
    kind?: string;
    script?: string | null;
    files?: { path: string; size_bytes: number; masked?: boolean }[];
    left_out?: { path: string; size_bytes: number; why: string }[];
    left_out_count?: number;
  };
  patch: { text: string; truncated: boolean; size_bytes: number } | null;
  command: Facts;
  variables: Record<string, string>;
  packages: { name: string; version: string; source: { url?: string; editable?: boolean } | null }[];
  environment: Facts;
  randomness: Facts;
  datasets: Facts[];
  used: Facts[];
  writers: Facts[];
}

export interface Relative {
  relation: "fork" | "reproduction" | "artifact" | (string & {});
  /** Its id today; null where it is no longer here. */
  experiment_id: string | null;
  uid: string;
  name: string | null;
  status: Status | null;
  /** Its id when it was recorded. */
  then?: string;
  step?: number;
  artifact?: string;
  version?: number;
}

export interface LineageReply {
  parents: Relative[];
  children: Relative[];
}
