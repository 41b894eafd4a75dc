/** What path shows what view. */
export type ViewName = "experiments" | "experiment" | "compare" | "alerts" | "missing";

export interface Route {
  name: ViewName;
  /** The parts of the path: `id` and `tab` of an experiment. */
  params: Record<string, string>;
  path: string;
  query: URLSearchParams;
}

export const experimentTabs = ["overview", "charts", "system", "logs", "artifacts", "provenance", "media", "lineage"];

/** The route of an address inside the page, such as `/experiments/exp_001/charts?x=epoch`. */
export function routeOf(address: string): Route {
  const url = new URL(address, "http://page");
  const parts = url.pathname.split("/").filter((part) => part !== "");
  const route = (name: ViewName, params: Record<string, string> = {}): Route => ({
    name,
    params,
    path: url.pathname,
    query: url.searchParams,
  });
  const [first, id, tab] = parts.map(decode);
  if (first === undefined) return route("experiments");
  if (first === "compare" && parts.length === 1) return route("compare");
  if (first === "alerts" && parts.length === 1) return route("alerts");
  if (first === "experiments" && id !== undefined && parts.length <= 3) {
    const shown = tab ?? "overview";
    if (experimentTabs.includes(shown)) return route("experiment", { id, tab: shown });
  }
  return route("missing");
}

/** A path with its query; what is undefined, null or "" is left out. */
export function addressOf(path: string, query: Record<string, string | null | undefined> = {}): string {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) if (value) search.set(key, value);
  const text = search.toString();
  return text === "" ? path : `${path}?${text}`;
}

export function experimentPath(id: string, tab = "overview"): string {
  const path = `/experiments/${encodeURIComponent(id)}`;
  return tab === "overview" ? path : `${path}/${tab}`;
}

export function comparePath(ids: readonly string[]): string {
  return `/compare?ids=${ids.map(encodeURIComponent).join(",")}`;
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
