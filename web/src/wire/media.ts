/** Media and alerts as the server tells them. */
import { apiUrl, getJson } from "./api";
import type { Num } from "./types";

export type MediaKind = "image" | "audio" | "video" | "histogram" | "table" | "text" | "figure";

export interface MediaKey {
  name: string;
  context: string;
  kind: MediaKind;
  count: number;
  first_step: number;
  last_step: number;
}

export interface MediaItem {
  kind: MediaKind;
  step: number;
  epoch: number | null;
  time_ms: number;
  /** Absent where all is told here, as of a histogram. */
  digest?: string;
  suffix?: string;
  mime?: string;
  size_bytes?: number;
  caption?: string;
  width?: number;
  height?: number;
  duration_s?: number;
  rows?: number;
  counts?: number[];
  edges?: number[];
  not_finite?: number;
}

export type TableCell =
  Num | boolean | null | { number: string } | { image: string; suffix?: string; width: number; height: number };

export interface TablePart {
  columns: string[];
  total: number;
  rows: (TableCell | string)[][];
}

const page = 1000;
const most = 20;

function base(id: string): string {
  return `/experiments/${encodeURIComponent(id)}/media`;
}

/** Where a content is to be had; what lies there never changes. */
export function fileUrl(id: string, digest: string): string {
  return apiUrl(`${base(id)}/files/${digest}`);
}

export async function mediaKeys(id: string, signal?: AbortSignal): Promise<MediaKey[]> {
  return (await getJson<{ keys: MediaKey[] }>(base(id), {}, signal)).keys;
}

/** The items of a name and context from a step on, by step; at most 20,000. */
export async function mediaItems(
  id: string,
  name: string,
  context: string,
  from: number | null,
  signal?: AbortSignal,
): Promise<MediaItem[]> {
  const found: MediaItem[] = [];
  for (let round = 0; round < most; round++) {
    const last = found.at(-1)?.step;
    const params = { name, context, from: last === undefined ? from : last + 1, limit: page };
    const { items } = await getJson<{ items: MediaItem[] }>(`${base(id)}/items`, params, signal);
    found.push(...items);
    if (items.length < page) break;
  }
  return found;
}

export function mediaText(
  id: string,
  digest: string,
  signal?: AbortSignal,
): Promise<{ text: string; truncated: boolean }> {
  return getJson(`${base(id)}/text`, { digest }, signal);
}

/** The JSON of a figure, which is anybody's. */
export function mediaFigure(id: string, digest: string, signal?: AbortSignal): Promise<unknown> {
  return getJson(`${base(id)}/files/${digest}`, {}, signal);
}

export interface TableOrder {
  sort: number | null;
  descending: boolean;
}

export function mediaTable(
  id: string,
  digest: string,
  order: TableOrder,
  offset: number,
  limit: number,
  signal?: AbortSignal,
): Promise<TablePart> {
  return getJson(`${base(id)}/table`, { digest, ...order, offset, limit }, signal);
}
