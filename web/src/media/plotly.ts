/** Reads the JSON of a plotly figure. It is anybody's: whatever is not as it should be counts as not there. */

/** A place along an axis as it was given. */
export type Raw = number | string | null;

export interface Trace {
  kind: "scatter" | "bar" | "histogram" | "heatmap";
  name: string;
  x: Raw[];
  y: Raw[];
  /** The rows of a heat map. */
  z: (number | null)[][];
  lines: boolean;
  dots: boolean;
  dashed: boolean;
  /** Filled down to zero, or to the trace before. */
  fill: "zero" | "before" | null;
  /** Its values stand on those of the stacked traces before. */
  stacked: boolean;
  /** Bars go to the right. */
  across: boolean;
  /** What the heights of a histogram are. */
  norm: string;
  /** The bins that are asked for: their width, or at most how many. */
  binWidth: number | null;
  bins: number | null;
  /** What the ends of a heat map's colours stand for. */
  ends: [number | null, number | null];
}

export interface AxisWish {
  title: string;
  /** `log`, `category`, `date`, `linear`, or what the values say. */
  type: string;
  range: [Raw, Raw] | null;
  reversed: boolean;
}

export interface Plotly {
  title: string;
  x: AxisWish;
  y: AxisWish;
  bars: "group" | "stack" | "overlay";
  traces: Trace[];
  /** The types of the traces that are not among `traces`. */
  others: string[];
}

type Loose = Record<string, unknown>;

const loose = (value: unknown): Loose =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Loose) : {};
const text = (value: unknown): string => (typeof value === "string" ? value : "");
const number = (value: unknown): number | null => (typeof value === "number" && Number.isFinite(value) ? value : null);
const raw = (value: unknown): Raw =>
  typeof value === "string" ? value : typeof value === "boolean" ? String(value) : number(value);

/** Titles may have a few tags, of which the words are shown. */
function titleOf(value: unknown): string {
  const found = text(value) || text(loose(value).text);
  return found.replace(/<br\s*\/?>/gi, " ").replace(/<\/?[a-z][^>]*>/gi, "");
}

const ARRAYS: Record<string, (buffer: ArrayBuffer) => ArrayLike<number>> = {
  i1: (buffer) => new Int8Array(buffer),
  u1: (buffer) => new Uint8Array(buffer),
  i2: (buffer) => new Int16Array(buffer),
  u2: (buffer) => new Uint16Array(buffer),
  i4: (buffer) => new Int32Array(buffer),
  u4: (buffer) => new Uint32Array(buffer),
  f4: (buffer) => new Float32Array(buffer),
  f8: (buffer) => new Float64Array(buffer),
};

/** A list, which NumPy arrays may be kept as in base64; with its number of columns if it has two dimensions. */
function packed(value: unknown): { values: number[]; columns: number } | null {
  const { dtype, bdata, shape } = loose(value);
  const make = ARRAYS[text(dtype)];
  if (!make || typeof bdata !== "string") return null;
  try {
    const bytes = Uint8Array.from(atob(bdata), (letter) => letter.charCodeAt(0));
    const values = Array.from(make(bytes.buffer));
    const columns = Number(String(shape ?? "").split(",")[1] ?? 0);
    return { values, columns: Number.isInteger(columns) && columns > 0 ? columns : 0 };
  } catch {
    return null; // no base64, or half a number
  }
}

function listOf(value: unknown): Raw[] {
  return (Array.isArray(value) ? value : (packed(value)?.values ?? [])).map(raw);
}

function rowsOf(value: unknown): (number | null)[][] {
  if (Array.isArray(value)) return value.map((row) => listOf(row).map(number));
  const found = packed(value);
  if (!found || found.columns === 0) return [];
  const rows = Math.floor(found.values.length / found.columns);
  return Array.from({ length: rows }, (_, row) =>
    found.values.slice(row * found.columns, (row + 1) * found.columns).map(number),
  );
}

const KINDS: Record<string, Trace["kind"]> = {
  scatter: "scatter",
  scattergl: "scatter",
  bar: "bar",
  histogram: "histogram",
  heatmap: "heatmap",
};

/** Whether a trace is one that is drawn as it is meant: of a known type, on the first axes, with nothing rare. */
function kindOf(trace: Loose): Trace["kind"] | null {
  const kind = KINDS[text(trace.type) || "scatter"];
  if (!kind || !["", "x"].includes(text(trace.xaxis)) || !["", "y"].includes(text(trace.yaxis))) return null;
  if (trace.base !== undefined) return null;
  if (kind === "histogram" && (!["", "count"].includes(text(trace.histfunc)) || loose(trace.cumulative).enabled))
    return null;
  if (Array.isArray(trace.x) && Array.isArray(trace.x[0])) return null; // categories in two levels
  return kind;
}

function traceOf(trace: Loose, kind: Trace["kind"]): Trace {
  const [x, y, z] = [listOf(trace.x), listOf(trace.y), kind === "heatmap" ? rowsOf(trace.z) : []];
  const mode = text(trace.mode) || (Math.max(x.length, y.length) < 20 ? "lines+markers" : "lines");
  const line = loose(trace.line);
  const across = text(trace.orientation) === "h" || (kind === "histogram" && x.length === 0);
  const bins = loose(across ? trace.ybins : trace.xbins);
  const [fill, stacked] = [text(trace.fill), text(trace.stackgroup) !== ""];
  return {
    kind,
    name: titleOf(trace.name),
    x:
      x.length || kind === "histogram"
        ? x
        : counted(kind === "heatmap" ? (z[0]?.length ?? 0) : y.length, trace.x0, trace.dx),
    y: y.length || kind === "histogram" ? y : counted(kind === "heatmap" ? z.length : x.length, trace.y0, trace.dy),
    z: trace.transpose === true ? transposed(z) : z,
    lines: mode.includes("lines") && line.width !== 0,
    dots: mode.includes("markers"),
    dashed: !["", "solid"].includes(text(line.dash)),
    fill: fill === "tozeroy" ? "zero" : fill === "tonexty" ? "before" : null,
    stacked,
    across,
    norm: text(trace.histnorm),
    binWidth: number(bins.size),
    bins: number(across ? trace.nbinsy : trace.nbinsx),
    ends: [number(trace.zmin), number(trace.zmax)],
  };
}

function counted(length: number, from: unknown, by: unknown): number[] {
  return Array.from({ length }, (_, i) => (number(from) ?? 0) + i * (number(by) ?? 1));
}

function transposed(z: (number | null)[][]): (number | null)[][] {
  return (z[0] ?? []).map((_, column) => z.map((row) => row[column] ?? null));
}

function axisOf(value: unknown): AxisWish {
  const axis = loose(value);
  const range = Array.isArray(axis.range) && axis.range.length === 2 ? axis.range.map(raw) : [];
  return {
    title: titleOf(axis.title),
    type: text(axis.type),
    range: range[0] != null && range[1] != null ? [range[0], range[1]] : null,
    reversed: text(axis.autorange) === "reversed",
  };
}

/** What of a plotly figure can be drawn; null of what is none. */
export function readPlotly(json: unknown): Plotly | null {
  const { data, layout: told } = loose(json);
  if (!Array.isArray(data)) return null;
  const layout = loose(told);
  const shown = data.map(loose).filter((trace) => trace.visible !== false && trace.visible !== "legendonly");
  const traces: Trace[] = [];
  const others: string[] = [];
  for (const trace of shown) {
    const kind = kindOf(trace);
    if (kind) traces.push(traceOf(trace, kind));
    else others.push(text(trace.type) || "scatter");
  }
  const colours = loose(layout.coloraxis);
  for (const trace of traces)
    trace.ends = [trace.ends[0] ?? number(colours.cmin), trace.ends[1] ?? number(colours.cmax)];
  const mode = text(layout.barmode);
  const bars = mode === "overlay" ? "overlay" : mode === "stack" || mode === "relative" ? "stack" : "group";
  return { title: titleOf(layout.title), x: axisOf(layout.xaxis), y: axisOf(layout.yaxis), bars, traces, others };
}
