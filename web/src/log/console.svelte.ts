import { getJson, isAbort } from "../wire/api";
import type { ConsoleMatches, ConsolePage } from "../wire/experiment";
import { aligned, LogWindow, pageBytes } from "./window";

const hitsAtOnce = 500;

/** The console of one experiment as far as it is loaded, and what was searched for in it. */
export class Console {
  log: LogWindow = $state.raw(new LogWindow());
  /** How many lines were put before those first loaded, less those taken away there. */
  shift = $state(0);
  /** How many windows were begun. */
  opened = $state(0);
  loaded = $state(false);
  error: unknown = $state.raw(null);
  search = $state("");
  hits: { byte: number; text: string }[] = $state.raw([]);
  moreHits = $state(false);
  searching = $state(false);
  hit = $state(-1);
  #path: string;
  #busy = false;
  #control = new AbortController();
  #searchControl = new AbortController();

  constructor(id: string) {
    this.#path = `/experiments/${encodeURIComponent(id)}/console`;
  }

  readonly lines: string[] = $derived(this.log.lines);
  readonly widest: number = $derived(this.log.widest);
  readonly marked: number = $derived.by(() => {
    const hit = this.hits[this.hit];
    return hit === undefined ? -1 : this.log.lineAt(hit.byte);
  });

  /** Loads the last lines, as these are what one looks for first. */
  toEnd = (): Promise<void> => this.#open(-pageBytes);

  toStart = (): Promise<void> => this.#open(0);

  /** Begins a window at a byte. */
  toByte = (byte: number): Promise<void> => this.#open(Math.max(0, Math.floor(byte)));

  /** A new window takes the place of what is being loaded for the old one. */
  #open = (from: number): Promise<void> => {
    this.#control.abort();
    this.#control = new AbortController();
    this.#busy = false;
    return this.#once(async (signal) => {
      const page = await this.#page(from, pageBytes, signal);
      this.log = new LogWindow().after(aligned(page));
      this.shift = 0;
      this.opened++;
      this.loaded = true;
    });
  };

  /** Loads what comes before or after the window. */
  grow = (end: "start" | "end"): Promise<void> =>
    this.#once(async (signal) => {
      const before = this.log;
      if (end === "end") {
        const page = await this.#page(before.to, pageBytes, signal);
        const next = before.after(page);
        const dropped = before.chunks.findIndex((chunk) => chunk === next.chunks[0]);
        this.shift -= before.chunks.slice(0, Math.max(0, dropped)).reduce((sum, one) => sum + one.lines.length, 0);
        this.log = next;
      } else if (!before.atStart) {
        const from = Math.max(0, before.from - pageBytes);
        const page = await this.#page(from, before.from - from, signal);
        const next = before.before(aligned(page));
        if (next !== before) this.shift += next.chunks[0]?.lines.length ?? 0;
        this.log = next;
      }
    });

  find = async (text: string): Promise<void> => {
    this.#searchControl.abort();
    this.search = text;
    [this.hits, this.hit, this.moreHits, this.searching] = [[], -1, false, text !== ""];
    if (text === "") return;
    const control = (this.#searchControl = new AbortController());
    try {
      const params = { q: text, from: 0, limit: hitsAtOnce };
      const found = await getJson<ConsoleMatches>(`${this.#path}/search`, params, control.signal);
      [this.hits, this.moreHits, this.searching] = [found.matches, found.more, false];
      if (this.hits.length > 0) await this.go(0);
    } catch (error) {
      if (isAbort(error)) return;
      [this.error, this.searching] = [error, false];
    }
  };

  /** Goes to a hit, counted around. */
  go = async (index: number): Promise<void> => {
    if (this.hits.length === 0) return;
    const at = (index + this.hits.length) % this.hits.length;
    const byte = this.hits[at]!.byte;
    if (this.log.lineAt(byte) < 0) await this.toByte(byte - pageBytes / 4);
    this.hit = at;
  };

  close = (): void => {
    this.#control.abort();
    this.#searchControl.abort();
  };

  #page(from: number, limit: number, signal: AbortSignal): Promise<ConsolePage> {
    return getJson<ConsolePage>(this.#path, { from, limit }, signal);
  }

  /** One request at a time, so that windows join without a gap. */
  async #once(work: (signal: AbortSignal) => Promise<void>): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    const control = this.#control;
    try {
      await work(control.signal);
      this.error = null;
    } catch (error) {
      if (!isAbort(error)) this.error = error;
    } finally {
      if (control === this.#control) this.#busy = false;
    }
  }
}
