import type { Params } from "../../wire/api";

/** Experiments drawn at most. */
export const MOST = 500;
/** Metrics asked for at first, and at each wish for more. */
export const PAGE = 100;

/** What is asked of `/metrics`. */
export function paramsOf(ids: readonly string[], search: string, system: boolean, limit: number): Params {
  return { ids: [...ids], search, system, limit };
}
