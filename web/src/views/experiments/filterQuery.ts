import type { ViewState } from "./viewState";

/** A text of the query language, in quotes. */
export function quoted(text: string): string {
  return JSON.stringify(text);
}

/** Words alone, without an operator, look for experiments whose name, id or notes hold each of them, or that have it as a tag. */
export function plainWords(text: string): string[] | null {
  const trimmed = text.trim();
  if (trimmed === "" || !/^[\p{L}\p{N} _-]+$/u.test(trimmed)) return null;
  const words = trimmed.split(/\s+/);
  return words.some((word) => ["and", "or", "not", "in", "is"].includes(word)) ? null : words;
}

/** What is typed, as a query of the server. */
export function typedQuery(text: string): string {
  const words = plainWords(text);
  if (words === null) return text.trim();
  const holds = (word: string) =>
    `(${["name", "experiment_id", "tags", "notes"].map((field) => `${quoted(word)} in ${field}`).join(" or ")})`;
  return words.map(holds).join(" and ");
}

/** The typed query with the filters beside it. */
export function filterQuery(view: Pick<ViewState, "query" | "statuses" | "tags">): string {
  const typed = typedQuery(view.query);
  const parts = [
    view.statuses.length > 0 ? `status in [${view.statuses.map(quoted).join(", ")}]` : "",
    ...view.tags.map((tag) => `${quoted(tag)} in tags`),
  ].filter(Boolean);
  if (parts.length === 0) return typed;
  return [typed === "" ? "" : `(${typed})`, ...parts].filter(Boolean).join(" and ");
}

/** Experiments of these ids. */
export function idsQuery(ids: readonly string[]): string {
  return `experiment_id in [${ids.map(quoted).join(", ")}]`;
}
