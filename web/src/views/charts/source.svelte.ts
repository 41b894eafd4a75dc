import { refine, refineBand } from "../../chart/series";
import type { Range } from "../../chart/range";
import { live } from "../../state/live.svelte";
import { Each, getAnswer, type Params } from "../../wire/api";
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

/** While one is drawn the server has the next to do, and one alone: two would share its time, and both come late. */
const queue = new Queue(2);
const turn = new Queue(1);
const batch = new Batch(async (metrics, rest, signal) => {
  return decodePoints(await fetched("/points", { metric: new Each(metrics), ...rest }, signal));
}, queue);

async function fetched(path: string, params: Params, signal: AbortSignal): Promise<ArrayBuffer> {
  const heard = live.connected;
  // It has done its part as soon as the answer begins.
  const answer = await turn.run(signal, () => getAnswer(path, params, signal));
  // Only the first of those that come before the server is listened to: what it misses, the later ones miss.
  if (!heard && (live.connected || live.version === null)) {
    live.shownAsOf(answer.headers.get("Frameworm-Version") ?? "");
  }
  return answer.arrayBuffer();
}

/** A zoom that follows another so soon is still moving: it is fetched when it stands still. */
const SETTLE_MS = 100;

const keyOf = (p: Points): string => `${p.id}\n${p.context}`;

/** The data of one chart. What is drawn stays until what replaces it is there. */
export class ChartSource {
  whole: Points[] = $state.raw([]);
  wholeBands: Band[] = $state.raw([]);
  damaged: Record<string, string> = $state.raw({});
  /** The x axis of what is drawn, which is that of the settings as soon as the answer is there. */
  x = $state("step");
  status: "waiting" | "loading" | "ready" | "error" = $state("waiting");
  error: unknown = $state.raw(null);
  #fine: Points[] = $state.raw([]);
  #fineBands: { bands: Band[]; inside: Range } | null = $state.raw(null);
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
      return finer && !p.path ? refine(p, finer) : p;
    });
  });

  bands: Band[] = $derived.by(() => {
    const fine = this.#fineBands;
    if (fine === null) return this.wholeBands;
    const of = new Map(fine.bands.map((band) => [band.group, band]));
    return this.wholeBands.map((band) => {
      const finer = of.get(band.group);
      return finer ? refineBand(band, finer, fine.inside) : band;
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
        this.wholeBands = decodeBands(await this.#get("/bands", bandParams(asked, asked.groups), signal));
        this.whole = [];
      } else {
        const reply = await batch.ask(asked.metric, { ...restOf(asked), ids }, signal);
        const fresh = new Set(ids);
        this.whole = partial
          ? inOrder([...this.whole.filter((p) => !fresh.has(p.id)), ...reply.series], asked.ids)
          : reply.series;
        this.damaged = reply.damaged;
        this.wholeBands = [];
      }
      if (changed === null) {
        this.#fine = []; // of what was asked before
        this.#fineBands = null;
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
      this.#fineBands = null;
      return;
    }
    // A path has no window along x that could be put into it.
    const whole: readonly { x: Float64Array; exact: boolean; path?: boolean }[] = asked.groups
      ? this.wholeBands
      : this.whole;
    if (whole.every((p) => p.exact || p.path)) return;
    // New points behind a window that is fetched already change nothing in it.
    const fine = asked.groups ? this.#fineBands?.bands : this.#fine;
    const same = fine?.length === whole.length && this.#window?.every((v, i) => v === window[i]);
    if (same && whole.every((p) => p.x.at(-1)! > window[1])) return;
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
    const part = {
      n: Math.round(asked.n * 1.5),
      from: at(low - beside, false),
      to: at(high + beside, true),
    };
    const rest = { ...restOf(asked), ...part };
    try {
      if (asked.groups) {
        const params = { ...bandParams(asked, asked.groups), ...part };
        const bands = decodeBands(await this.#get("/bands", params, signal));
        // At the ends of what was asked for, not all members have a value.
        this.#fineBands = { bands, inside: [low - beside / 2, high + beside / 2] };
        return;
      }
      this.#fine = (await batch.ask(asked.metric, rest, signal)).series;
    } catch (error) {
      if (!signal.aborted) this.error = error;
    }
  }

  #get(path: string, params: Record<string, string | number | string[]>, signal: AbortSignal): Promise<ArrayBuffer> {
    return queue.run(signal, () => fetched(path, params, signal));
  }

  /** Out of view: nothing more is fetched and nothing kept. */
  drop = (): void => {
    clearTimeout(this.#timer);
    this.#whole.abort();
    this.#zoom.abort();
    this.whole = [];
    this.wholeBands = [];
    this.#fine = [];
    this.#fineBands = null;
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
