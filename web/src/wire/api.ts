/** Requests to the server. Every failure is an `ApiError`, save an aborted request, which stays an `AbortError`. */
const base = "/api/v1";

type Param = string | number | boolean | readonly string[] | Each | null | undefined;
export type Params = Record<string, Param>;

/** A parameter that is given once for each value. */
export class Each {
  constructor(readonly values: readonly string[]) {}
}

export class ApiError extends Error {
  override name = "ApiError";

  constructor(
    readonly code: string,
    message: string,
    readonly status: number,
    /** The character of a query at which it went wrong. */
    readonly position: number | null = null,
  ) {
    super(message);
  }
}

export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

/** A list as the server takes it: joined by commas, or as JSON if an element holds one. */
function listParam(items: readonly string[]): string {
  const plain = items.every((item) => !item.includes(",")) && items[0]?.[0] !== "[";
  return plain ? items.join(",") : JSON.stringify(items);
}

/** The address of an endpoint, such as `/points`; null, undefined and empty lists are left out. */
export function apiUrl(path: string, params: Params = {}): string {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(params)) {
    if (value instanceof Each) {
      for (const one of value.values) query.append(key, one);
      continue;
    }
    if (Array.isArray(value) ? value.length === 0 : value === null || value === undefined) continue;
    query.set(key, Array.isArray(value) ? listParam(value) : String(value));
  }
  const text = query.toString();
  return base + path + (text === "" ? "" : `?${text}`);
}

export async function getJson<T>(path: string, params: Params = {}, signal?: AbortSignal): Promise<T> {
  const response = await request(apiUrl(path, params), { signal, headers: { Accept: "application/json" } });
  return (response.status === 204 ? null : await response.json()) as T;
}

/** The answer as soon as it begins. */
export async function getAnswer(path: string, params: Params = {}, signal?: AbortSignal): Promise<Response> {
  return request(apiUrl(path, params), { signal });
}

export async function post<T>(path: string, body: unknown, signal?: AbortSignal): Promise<T> {
  const headers = { "Content-Type": "application/json", Accept: "application/json" };
  const response = await request(apiUrl(path), { method: "POST", body: JSON.stringify(body), headers, signal });
  return (response.status === 204 ? null : await response.json()) as T;
}

const ahead = new Map<string, Promise<Response>>();
const AHEAD_MS = 10_000;

/** Asks for JSON before what shows it is there: the first `getJson` of the same in the next seconds gets the answer. */
export function askAhead(path: string, params: Params = {}): void {
  const url = apiUrl(path, params);
  const answer = fetch(url, { headers: { Accept: "application/json" } });
  answer.catch(() => {}); // who asks for it is told
  ahead.set(url, answer);
  setTimeout(() => ahead.delete(url), AHEAD_MS);
}

async function request(url: string, init: RequestInit): Promise<Response> {
  let response: Response;
  try {
    const asked = ahead.get(url);
    ahead.delete(url);
    response = await (asked ?? fetch(url, init));
    init.signal?.throwIfAborted();
  } catch (error) {
    if (isAbort(error)) throw error;
    throw new ApiError("offline", "The server does not answer. Is frameworm ui still running?", 0);
  }
  if (response.ok) return response;
  throw await failure(response);
}

async function failure(response: Response): Promise<ApiError> {
  try {
    const { error } = (await response.json()) as { error: { code: string; message: string; position?: number | null } };
    return new ApiError(error.code, error.message, response.status, error.position ?? null);
  } catch {
    const text = response.status >= 500 ? "The server failed" : "The server refused the request";
    return new ApiError("internal", `${text} (${response.status}).`, response.status);
  }
}
