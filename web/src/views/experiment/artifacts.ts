import type { Artifact } from "../../wire/experiment";
import { naturally } from "../../values/order";

export interface Named {
  latest: Artifact;
  /** Newest first. */
  versions: Artifact[];
}

/** The artifacts by name, in natural order, with their versions. */
export function latestOf(artifacts: readonly Artifact[]): Named[] {
  const byName = new Map<string, Artifact[]>();
  for (const one of artifacts) byName.set(one.name, [...(byName.get(one.name) ?? []), one]);
  return [...byName.values()]
    .map((versions) => versions.sort((a, b) => b.version - a.version))
    .map((versions) => ({ latest: versions[0]!, versions }))
    .sort((a, b) => naturally(a.latest.name, b.latest.name));
}

/** JSON as a value; undefined where it is none or was cut. */
export function parsedJson(text: string, truncated: boolean): unknown {
  if (truncated) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Which columns of a table hold numbers alone: these are aligned at the right. */
export function numberColumns(rows: readonly (readonly string[])[]): boolean[] {
  const [head = [], ...body] = rows;
  return head.map((_, column) => {
    const cells = body.map((row) => row[column] ?? "").filter((cell) => cell.trim() !== "");
    return cells.length > 0 && cells.every((cell) => !Number.isNaN(Number(cell)));
  });
}
