import { untrack } from "svelte";
import type { XKind } from "../../chart/format";
import type { Range } from "../../chart/range";
import type { Smoothing } from "../../chart/smooth";
import { router } from "../../router/router.svelte";

export type Size = "small" | "medium" | "large";
export type BandError = "std" | "sem" | "ci";

/** How all charts of a panel are shown. */
export interface Settings {
  /** step, epoch, relative, time or `metric:<name>`. */
  x: string;
  xLog: boolean;
  yLog: boolean;
  smoothing: Smoothing;
  strength: number;
  ignoreOutliers: boolean;
  syncZoom: boolean;
  /** The part of x that all charts show while zoom is synchronised. */
  zoom: Range | null;
  /** The column by which experiments are put into groups; empty for none. */
  by: string;
  error: BandError;
  find: string;
  size: Size;
  folded: string[];
}

export const defaults: Settings = {
  x: "step",
  xLog: false,
  yLog: false,
  smoothing: "ema",
  strength: 0,
  ignoreOutliers: false,
  syncZoom: false,
  zoom: null,
  by: "",
  error: "std",
  find: "",
  size: "medium",
  folded: [],
};

const PREFIX = "chart.";
/** So long settings may change before the address does: a dragged slider writes it once. */
const PAUSE_MS = 250;

const smoothings: readonly string[] = ["ema", "gaussian", "median"];
const errors: readonly string[] = ["std", "sem", "ci"];
const sizes: readonly string[] = ["small", "medium", "large"];

export function parse(query: URLSearchParams): Settings {
  const get = (key: string): string => query.get(PREFIX + key) ?? "";
  const one = <T extends string>(value: string, known: readonly string[], otherwise: T): T =>
    known.includes(value) ? (value as T) : otherwise;
  const [kind = "", strength = ""] = get("smooth").split(":");
  const zoom = get("zoom").split("..").map(Number);
  return {
    x: /^(epoch|relative|time|metric:.+)$/.test(get("x")) ? get("x") : defaults.x,
    xLog: get("xlog") === "1",
    yLog: get("log") === "1",
    smoothing: one(kind, smoothings, defaults.smoothing),
    strength: Math.min(0.999, Math.max(0, Number(strength) || 0)),
    ignoreOutliers: get("outliers") === "hide",
    syncZoom: get("sync") === "1",
    zoom: zoom.length === 2 && zoom.every(Number.isFinite) && zoom[0]! < zoom[1]! ? [zoom[0]!, zoom[1]!] : null,
    by: get("by"),
    error: one(get("band"), errors, defaults.error),
    find: get("find"),
    size: one(get("size"), sizes, defaults.size),
    folded: get("folded").split(",").filter(Boolean).map(decodeURIComponent),
  };
}

export function format(s: Settings): Record<string, string | null> {
  const values: Record<string, string | null> = {
    x: s.x === defaults.x ? null : s.x,
    xlog: s.xLog ? "1" : null,
    log: s.yLog ? "1" : null,
    smooth: s.strength > 0 ? `${s.smoothing}:${s.strength}` : null,
    outliers: s.ignoreOutliers ? "hide" : null,
    sync: s.syncZoom ? "1" : null,
    zoom: s.syncZoom && s.zoom ? s.zoom.map((v) => Number(v.toPrecision(10))).join("..") : null,
    by: s.by || null,
    band: s.by && s.error !== defaults.error ? s.error : null,
    find: s.find || null,
    size: s.size === defaults.size ? null : s.size,
    folded: s.folded.length ? s.folded.map(encodeURIComponent).join(",") : null,
  };
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [PREFIX + key, value]));
}

export function kindOf(x: string): XKind {
  return x === "relative" || x === "time" ? x : "number";
}

export function labelOf(x: string): string {
  if (x.startsWith("metric:")) return x.slice(7);
  return { relative: "time since start", time: "time" }[x] ?? x;
}

/** The settings of a panel, kept in the address. Make it while a component is set up. */
export class ChartSettings {
  now: Settings = $state.raw(parse(router.current.query));
  #written = "";
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    this.#written = this.#text(this.now);
    // Back, forward and followed links.
    $effect(() => {
      const found = parse(router.current.query);
      untrack(() => {
        if (this.#timer !== undefined || this.#text(found) === this.#written) return;
        this.#written = this.#text(found);
        this.now = found;
      });
    });
    $effect(() => () => clearTimeout(this.#timer));
  }

  set = (changes: Partial<Settings>): void => {
    this.now = { ...this.now, ...changes };
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#written = this.#text(this.now);
      router.setQuery(format(this.now), { replace: true });
    }, PAUSE_MS);
  };

  #text(s: Settings): string {
    return JSON.stringify(format(s));
  }
}
