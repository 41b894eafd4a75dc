import { live } from "../../state/live.svelte";
import { getJson, isAbort, type Params } from "../../wire/api";
import type { Row, TablePage } from "../../wire/types";
import { PageCache, pagesOf } from "./pageCache";

const pageSize = 100;
const mostPages = 60;
const settle = 30;
const rest = 300;

/** The rows of a long list, fetched in pages as they come into view. What was shown stays until the new is there. */
export class Rows {
  #total = $state(0);
  #known = $state(false);
  #busy = $state(false);
  #moved = $state(false);
  #error: unknown = $state.raw(null);
  #tick = $state(0);
  #cache = new PageCache<Row>(pageSize, mostPages);
  #asked = "";
  #listed = "";
  #params: Params = {};
  #columns: readonly string[] = [];
  #places: ReadonlyMap<string, number> = $state.raw(new Map<string, number>());
  #ahead = false;
  #first = 0;
  #last = 0;
  #control = new AbortController();
  #flying = new Map<number, AbortController>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #prepared: { asked: string; page: Promise<TablePage>; control: AbortController } | null = null;

  /** How many there are. */
  get total(): number {
    return this.#total;
  }

  /** Whether anything was ever there to be shown. */
  get known(): boolean {
    return this.#known;
  }

  /** The list that is asked for is not the one that is shown yet. */
  get busy(): boolean {
    return this.#busy;
  }

  /** Rows of a list that is about to be asked for are on their way. */
  get prepared(): boolean {
    return this.#prepared !== null;
  }

  /** The order has changed since; `refresh` shows it. */
  get moved(): boolean {
    return this.#moved;
  }

  get error(): unknown {
    return this.#error;
  }

  /** Where the values of a column stand in the rows that are shown. */
  get places(): ReadonlyMap<string, number> {
    return this.#places;
  }

  at(index: number): Row | undefined {
    void this.#tick;
    return this.#cache.at(index);
  }

  /** The rows that are here, in order. */
  get here(): Row[] {
    void this.#tick;
    return [...this.#cache.entries()].sort(([a], [b]) => a - b).map(([, row]) => row);
  }

  /**
   * Shows another list, from its first page on, or other columns of the same, once they are there; `ahead`: pages next
   * to those that are seen are worth to be fetched.
   */
  ask = (params: Params, columns: readonly string[], ahead: boolean): void => {
    this.#ahead = ahead;
    const asked = JSON.stringify(params);
    if (asked === this.#asked) return;
    const { columns: _, ...list } = params;
    const listed = JSON.stringify(list);
    const again = listed === this.#listed && this.#known;
    this.#asked = asked;
    this.#listed = listed;
    this.#params = params;
    this.#columns = columns;
    void (again ? this.refresh() : this.#load(0, pageSize));
  };

  /** Fetches the first page of a list that is about to be asked for; null: it will not be. */
  prepare = (params: Params | null): void => {
    this.#prepared?.control.abort();
    this.#prepared = null;
    if (params === null) return;
    const asked = JSON.stringify(params);
    if (asked === this.#asked) return;
    const control = new AbortController();
    const page = this.#fetch(0, control.signal, params);
    page.catch(() => {}); // whoever asks for it is told
    this.#prepared = { asked, page, control };
  };

  /** The same list again, as it is now. */
  refresh = (): Promise<void> => this.#load(this.#first, this.#last);

  async #load(first: number, last: number): Promise<void> {
    this.#stop();
    const prepared = this.#prepared?.asked === this.#asked ? this.#prepared : null;
    if (prepared === null) this.prepare(null);
    this.#prepared = null;
    const control = prepared?.control ?? new AbortController();
    const fetch = (page: number) => (page === 0 && prepared?.page) || this.#fetch(page, control.signal);
    this.#control = control;
    this.#busy = true;
    try {
      const start = Math.floor(first / pageSize);
      const numbers = [start, ...(last > (start + 1) * pageSize ? [start + 1] : [])];
      const pages = await Promise.all(numbers.map(fetch));
      this.#cache.clear();
      pages.forEach((page, index) => this.#cache.put(numbers[index]!, page.rows));
      this.#places = placesOf(this.#columns);
      this.#total = pages.at(-1)!.total;
      if (!this.#known) live.shownAsOf(pages[0]!.version);
      this.#known = true;
      this.#moved = false;
      this.#error = null;
      this.#tick++;
      this.want(this.#first, this.#last);
    } catch (error) {
      if (isAbort(error)) return;
      this.#error = error;
    }
    this.#busy = false;
  }

  /** Fetches what is missing of these rows, once the scrolling settles, and pages next to them once it rests. */
  want = (first: number, last: number): void => {
    this.#first = first;
    this.#last = last;
    clearTimeout(this.#timer);
    const missing = this.#missing();
    if (missing.length > 0) this.#timer = setTimeout(() => this.#fill(), missing.some(this.#isSeen) ? settle : rest);
  };

  /** Seen ones, and where it is worth it one more each way. */
  #pages(): number[] {
    const pages = pagesOf(this.#first, this.#last, pageSize, this.#total);
    return this.#ahead ? pages : pages.filter(this.#isSeen);
  }

  #isSeen = (page: number): boolean => page * pageSize < this.#last && (page + 1) * pageSize > this.#first;

  #missing(): number[] {
    return this.#pages().filter((page) => !this.#cache.has(page));
  }

  #fill(): void {
    if (this.#busy) return;
    const pages = this.#pages();
    for (const [page, control] of this.#flying) if (!pages.includes(page)) control.abort();
    this.#cache.touch([...pages].reverse());
    for (const page of this.#missing()) if (!this.#flying.has(page)) void this.#fillPage(page);
  }

  async #fillPage(page: number): Promise<void> {
    const control = new AbortController();
    this.#flying.set(page, control);
    try {
      const { rows, total } = await this.#fetch(page, control.signal);
      this.#cache.put(page, rows);
      this.#total = total;
      this.#error = null;
      this.#tick++;
    } catch (error) {
      if (!isAbort(error)) this.#error = error;
    } finally {
      if (this.#flying.get(page) === control) this.#flying.delete(page);
    }
  }

  #fetch(page: number, signal: AbortSignal, params = this.#params): Promise<TablePage> {
    return getJson<TablePage>("/experiments", { ...params, offset: page * pageSize, limit: pageSize }, signal);
  }

  /**
   * Takes over what changed in the rows that are seen. Rows stay where they are, unless `reorder` says that nothing
   * can jump; then `moved` tells that there is another order to be had.
   */
  update = async (reorder: boolean): Promise<void> => {
    if (this.#busy || !this.#known) return;
    const asked = this.#asked;
    const seen = [Math.floor(this.#first / pageSize), Math.floor(Math.max(0, this.#last - 1) / pageSize)];
    const numbers = [...new Set(seen)];
    try {
      const pages = await Promise.all(numbers.map((number) => this.#fetch(number, this.#control.signal)));
      if (asked !== this.#asked) return;
      const same = numbers.every((number, index) => this.#sameOrder(number, pages[index]!.rows));
      if (same || reorder) {
        if (!same) this.#cache.clear();
        pages.forEach((page, index) => this.#cache.put(numbers[index]!, page.rows));
        this.#total = pages.at(-1)!.total;
        this.#moved = false;
      } else {
        this.#patch(new Map(pages.flatMap((page) => page.rows.map((row) => [row.experiment_id, row]))));
        this.#moved = true;
      }
      this.#error = null;
      this.#tick++;
    } catch (error) {
      if (!isAbort(error)) this.#error = error;
    }
  };

  #sameOrder(page: number, rows: readonly Row[]): boolean {
    const begin = page * pageSize;
    return rows.every((row, index) => this.#cache.at(begin + index)?.experiment_id === row.experiment_id);
  }

  #patch(fresh: ReadonlyMap<string, Row>): void {
    const pages = new Map<number, Row[]>();
    for (const [index, row] of this.#cache.entries()) {
      const page = Math.floor(index / pageSize);
      const rows = pages.get(page) ?? [];
      rows.push(fresh.get(row.experiment_id) ?? row);
      pages.set(page, rows);
    }
    for (const [page, rows] of pages) this.#cache.put(page, rows);
  }

  #stop(): void {
    clearTimeout(this.#timer);
    this.#control.abort();
    for (const control of this.#flying.values()) control.abort();
    this.#flying.clear();
  }
}

export function placesOf(columns: readonly string[]): ReadonlyMap<string, number> {
  return new Map(columns.map((id, index) => [id, index]));
}
