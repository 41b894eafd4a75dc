/**
 * Decoder of the binary form of points, `FWP1`.
 *
 * Layout: the bytes `FWP1`, a little-endian uint32 with the header's length, the header as UTF-8 JSON padded
 * to a multiple of 8, then one run of little-endian float64 arrays a series. Views are laid on the buffer; no
 * value is copied.
 */

export interface Points {
  id: string;
  context: string;
  /** Points the server summarised, which is more than the buckets unless `exact`. */
  count: number;
  exact: boolean;
  /** x goes to and fro: points that were logged, in the order of steps. */
  path?: boolean;
  x: Float64Array;
  min: Float64Array;
  max: Float64Array;
  last: Float64Array;
  timeMs: Float64Array;
}

export interface Band {
  /** The group's place in the request. */
  group: number;
  /** Experiments of the group that have the metric. */
  members: number;
  /** Every x of its members is there. */
  exact: boolean;
  x: Float64Array;
  /** NaN where less than two members have a value. */
  low: Float64Array;
  high: Float64Array;
  mean: Float64Array;
}

export interface PointsReply {
  series: (Points & { metric: string })[];
  x: string;
  missing: string[];
  /** What is wrong with experiments that cannot be read. */
  damaged: Record<string, string>;
}

interface Entry {
  id?: string;
  metric?: string;
  context?: string;
  group?: number;
  members?: number;
  n: number;
  count?: number;
  exact?: boolean;
  path?: boolean;
  offset: number;
}

/** x, min, max, last, time in ms; of a band x, low, high, mean, members. */
const ARRAYS = 5;

export class PointsFormatError extends Error {}

function open(buffer: ArrayBuffer): { header: Record<string, unknown>; parts: [Entry, Float64Array[]][] } {
  const bytes = new Uint8Array(buffer);
  if (bytes.length < 8 || String.fromCharCode(...bytes.subarray(0, 4)) !== "FWP1") {
    throw new PointsFormatError("The answer does not start with FWP1: it is not a points answer.");
  }
  const length = new DataView(buffer).getUint32(4, true);
  if (8 + length > bytes.length) {
    throw new PointsFormatError(`The header says ${length} bytes but only ${bytes.length - 8} follow.`);
  }
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length))) as Record<string, unknown>;
  const body = 8 + length;
  const parts = ((header["series"] as Entry[] | undefined) ?? []).map((entry): [Entry, Float64Array[]] => {
    const start = body + entry.offset;
    const end = start + entry.n * 8 * ARRAYS;
    if (end > bytes.length) {
      throw new PointsFormatError(`A series ends at byte ${end}, past the end at ${bytes.length}.`);
    }
    return [
      entry,
      Array.from({ length: ARRAYS }, (_, k) => new Float64Array(buffer, start + k * entry.n * 8, entry.n)),
    ];
  });
  return { header, parts };
}

/** Decode the answer of `GET /points`. */
export function decodePoints(buffer: ArrayBuffer): PointsReply {
  const { header, parts } = open(buffer);
  return {
    x: String(header["x"] ?? "step"),
    missing: (header["missing"] as string[] | undefined) ?? [],
    damaged: (header["damaged"] as Record<string, string> | undefined) ?? {},
    series: parts.map(([entry, [x, min, max, last, timeMs]]) => ({
      id: entry.id ?? "",
      metric: entry.metric ?? "",
      context: entry.context ?? "",
      count: entry.count ?? entry.n,
      exact: entry.exact ?? false,
      ...(entry.path ? { path: true } : {}),
      x: x!,
      min: min!,
      max: max!,
      last: last!,
      timeMs: timeMs!,
    })),
  };
}

/** Decode the answer of `GET /bands`. */
export function decodeBands(buffer: ArrayBuffer): Band[] {
  return open(buffer).parts.map(([entry, [x, low, high, mean]], place) => ({
    group: entry.group ?? place,
    members: entry.members ?? 0,
    exact: entry.exact ?? false,
    x: x!,
    low: low!,
    high: high!,
    mean: mean!,
  }));
}

/** Encode points as the server does; fixtures of tests and of the chart gallery. */
export function encodePoints(reply: PointsReply): ArrayBuffer {
  let offset = 0;
  const series = reply.series.map((s) => {
    const entry = {
      id: s.id,
      metric: s.metric,
      context: s.context,
      n: s.x.length,
      count: s.count,
      exact: s.exact,
      offset,
    };
    offset += s.x.length * 40;
    return entry;
  });
  const text = new TextEncoder().encode(JSON.stringify({ ...reply, series }));
  const length = Math.ceil(text.length / 8) * 8;
  const bytes = new Uint8Array(8 + length + offset).fill(0x20, 8, 8 + length);
  bytes.set([0x46, 0x57, 0x50, 0x31]);
  new DataView(bytes.buffer).setUint32(4, length, true);
  bytes.set(text, 8);
  const values = new Float64Array(bytes.buffer, 8 + length);
  let place = 0;
  for (const s of reply.series) {
    for (const array of [s.x, s.min, s.max, s.last, s.timeMs]) {
      values.set(array, place);
      place += array.length;
    }
  }
  return bytes.buffer;
}
