import { refine } from "../../chart/series";
import type { Range } from "../../chart/range";
import { Each, getBinary } from "../../wire/api";
import { decodeBands, decodePoints, type Band, type Points } from "../../wire/points";
import { Batch, type Rest } from "./batch";
import type { Group } from "./people.svelte";
import { Queue } from "./queue";
import type { BandError } from "./settings.svelte";

export interface Asked {
  metric: string;
  context: string;
  ids: readonly string[];
  groups: readonly Group[] | null;
  error: BandError;
  x: string;
  /** Buckets a line. */
  n: number;
}

/** While one is drawn the server has the next to do. More at once would share its time, and all come late. */
const queue = new Queue(2);
const batch = new Batch(async (metrics, rest, signal) => {
  return decodePoints(await getBinary("/points", { metric: new Each(metrics), ...rest }, signal));
}, queue);
/** A zoom that follows another so soon is still moving: it is fetched when it stands still. */
const SETTLE_MS = 100;

const keyOf = (p: Points): string => `${p.id}\n${p.context}`;

/** The data of one chart. What is drawn stays until what replaces it is there. */
export class ChartSource {
  whole: Points[] = $state.raw([]);
  bands: Band[] = $state.raw([]);
  damaged: Record<string, string> = $state.raw({});
  /** The x axis of what is drawn, which is that of the settings as soon as the answer is there. */
  x = $state("step");
  status: "waiting" | "loading" | "ready" | "error" = $state("waiting");
  error: unknown = $state.raw(null);
  #fine: Points[] = $state.raw([]);
  #whole = new AbortController();
  #zoom = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #zoomed = 0;
  #window: Range | null = null;
  /** Changed experiments not fetched yet: a request that is overtaken hands them on. */
  #stale = new Set<string>();

  /** The whole with the window that was fetched finely put in. */
  points: Points[] = $derived.by(() => {
    const fine = new Map(this.#fine.map((p) => [keyOf(p), p]));
    return this.whole.map((p) => {
      const finer = fine.get(keyOf(p));
      return finer ? refine(p, finer) : p;
    });
  });

  /** Fetches all, or only the lines of experiments that changed. */
  load = async (asked: Asked, changed: ReadonlySet<string> | null = null): Promise<void> => {
    const partial = changed !== null && !asked.groups && this.status === "ready";
    changed?.forEach((id) => this.#stale.add(id));
    const ids = partial ? asked.ids.filter((id) => this.#stale.has(id)) : [...asked.ids];
    if (partial && ids.length === 0) return;
    this.#whole.abort();
    this.#whole = new AbortController();
    const { signal } = this.#whole;
    if (this.status !== "ready") this.status = "loading";
    try {
      if (asked.groups) {
        this.bands = decodeBands(await this.#get("/bands", bandParams(asked, asked.groups), signal));
        this.whole = [];
      } else {
        const reply = await batch.ask(asked.metric, { ...restOf(asked), ids }, signal);
        const fresh = new Set(ids);
        this.whole = partial
          ? inOrder([...this.whole.filter((p) => !fresh.has(p.id)), ...reply.series], asked.ids)
          : reply.series;
        this.damaged = reply.damaged;
        this.bands = [];
      }
      ids.forEach((id) => this.#stale.delete(id));
      this.x = asked.x;
      this.status = "ready";
      this.error = null;
    } catch (error) {
      if (signal.aborted) return;
      this.error = error;
      if (this.status !== "ready") this.status = "error";
    }
  };

  /** Fetches what is on screen at full resolution, at once unless it is still moving; null gives up the window. */
  zoom = (asked: Asked, window: Range | null): void => {
    clearTimeout(this.#timer);
    this.#zoom.abort();
    if (!window) {
      this.#fine = [];
      return;
    }
    if (asked.groups || this.whole.every((p) => p.exact)) return;
    // New points behind a window that is fetched already change nothing in it.
    const same = this.#fine.length === this.whole.length && this.#window?.every((v, i) => v === window[i]);
    if (same && this.whole.every((p) => p.x.at(-1)! > window[1])) return;
    this.#window = window;
    const moving = performance.now() - this.#zoomed < SETTLE_MS;
    this.#zoomed = performance.now();
    if (moving) this.#timer = setTimeout(() => void this.#refine(asked, window), SETTLE_MS);
    else void this.#refine(asked, window);
  };

  async #refine(asked: Asked, [low, high]: Range): Promise<void> {
    this.#zoom = new AbortController();
    const { signal } = this.#zoom;
    const beside = (high - low) / 4; // for a small move, and so that lines run on at the edges
    const whole = asked.x === "step" || asked.x === "epoch" || asked.x === "time";
    const at = (v: number, up: boolean): number => (whole ? (up ? Math.ceil(v) : Math.floor(v)) : v);
    const rest = {
      ...restOf(asked),
      n: Math.round(asked.n * 1.5),
      from: at(low - beside, false),
      to: at(high + beside, true),
    };
    try {
      this.#fine = (await batch.ask(asked.metric, rest, signal)).series;
    } catch (error) {
      if (!signal.aborted) this.error = error;
    }
  }

  #get(path: string, params: Record<string, string | number | string[]>, signal: AbortSignal): Promise<ArrayBuffer> {
    return queue.run(signal, () => getBinary(path, params, signal));
  }

  /** Out of view: nothing more is fetched and nothing kept. */
  drop = (): void => {
    clearTimeout(this.#timer);
    this.#whole.abort();
    this.#zoom.abort();
    this.whole = [];
    this.bands = [];
    this.#fine = [];
    this.status = "waiting";
  };
}

function restOf(a: Asked): Rest {
  return { context: a.context, ids: [...a.ids], n: a.n, x: a.x };
}

function bandParams(a: Asked, groups: readonly Group[]): Record<string, string | number> {
  const context = a.context === "*" ? "" : a.context;
  const lists = JSON.stringify(groups.map((g) => g.ids));
  return { metric: a.metric, context, groups: lists, n: a.n, x: a.x, error: a.error };
}

function inOrder(points: Points[], ids: readonly string[]): Points[] {
  const place = new Map(ids.map((id, i) => [id, i]));
  return points.sort((a, b) => (place.get(a.id) ?? 0) - (place.get(b.id) ?? 0) || (a.context < b.context ? -1 : 1));
}
