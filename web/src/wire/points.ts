/**
 * Decoder of the binary form of points, `FWP2`.
 *
 * Layout: the bytes `FWP2`, a little-endian uint32 with the header's length, the header as UTF-8 JSON padded
 * to a multiple of 8, then little-endian float64 arrays: of each series its x, unless one before it has the very
 * same, and one run of its own. Views are laid on the buffer; no value is copied.
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
  /** Where its x begins, in bytes from the end of the header; series may share it. */
  x_offset: number;
  offset: number;
}

/** min, max, last; of a band low, high, mean, which members follow. */
const ARRAYS = 3;

export class PointsFormatError extends Error {}

function open(buffer: ArrayBuffer): { header: Record<string, unknown>; parts: [Entry, Float64Array[]][] } {
  const bytes = new Uint8Array(buffer);
  if (bytes.length < 8 || String.fromCharCode(...bytes.subarray(0, 4)) !== "FWP2") {
    throw new PointsFormatError("The answer does not start with FWP2: it is not a points answer.");
  }
  const length = new DataView(buffer).getUint32(4, true);
  if (8 + length > bytes.length) {
    throw new PointsFormatError(`The header says ${length} bytes but only ${bytes.length - 8} follow.`);
  }
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length))) as Record<string, unknown>;
  const body = 8 + length;
  const shared = new Map<number, Float64Array>();
  const parts = ((header["series"] as Entry[] | undefined) ?? []).map((entry): [Entry, Float64Array[]] => {
    const { n } = entry;
    const start = body + entry.offset;
    const end = Math.max(start + ARRAYS * n * 8, body + entry.x_offset + n * 8);
    if (end > bytes.length) {
      throw new PointsFormatError(`A series ends at byte ${end}, past the end at ${bytes.length}.`);
    }
    const at = (offset: number): Float64Array => new Float64Array(buffer, offset, n);
    // Series without points may name the place of the next one's x.
    let x = shared.get(entry.x_offset);
    if (x?.length !== n) shared.set(entry.x_offset, (x = at(body + entry.x_offset)));
    return [entry, [x, at(start), at(start + n * 8), at(start + 2 * n * 8)]];
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
    series: parts.map(([entry, [x, min, max, last]]) => ({
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
  const arrays: Float64Array[] = [];
  const places = new Map<string, number>();
  let offset = 0;
  const put = (array: Float64Array): number => {
    const at = offset;
    arrays.push(array);
    offset += array.length * 8;
    return at;
  };
  const series = reply.series.map((s) => {
    const key = s.x.join();
    const x_offset = places.get(key) ?? put(s.x);
    places.set(key, x_offset);
    const [at] = [put(s.min), put(s.max), put(s.last)];
    const { id, metric, context, count, exact } = s;
    return { id, metric, context, n: s.x.length, count, exact, x_offset, offset: at };
  });
  const text = new TextEncoder().encode(JSON.stringify({ ...reply, series }));
  const length = Math.ceil(text.length / 8) * 8;
  const bytes = new Uint8Array(8 + length + offset).fill(0x20, 8, 8 + length);
  bytes.set([0x46, 0x57, 0x50, 0x32]);
  new DataView(bytes.buffer).setUint32(4, length, true);
  bytes.set(text, 8);
  const values = new Float64Array(bytes.buffer, 8 + length);
  let place = 0;
  for (const array of arrays) {
    values.set(array, place);
    place += array.length;
  }
  return bytes.buffer;
}
