/** The pages of a long list that were fetched; the least recently used go first. */
export class PageCache<T> {
  #pages = new Map<number, readonly T[]>();

  constructor(
    readonly size: number,
    readonly most: number,
  ) {}

  /** The element at a place of the list, if its page is here. */
  at(index: number): T | undefined {
    return this.#pages.get(Math.floor(index / this.size))?.[index % this.size];
  }

  has(page: number): boolean {
    return this.#pages.has(page);
  }

  put(page: number, items: readonly T[]): void {
    this.#pages.delete(page);
    this.#pages.set(page, items);
    for (const oldest of this.#pages.keys()) {
      if (this.#pages.size <= this.most) break;
      this.#pages.delete(oldest);
    }
  }

  /** Marks pages as used, so that others go before them. */
  touch(pages: readonly number[]): void {
    for (const page of pages) {
      const items = this.#pages.get(page);
      if (items !== undefined) this.put(page, items);
    }
  }

  clear(): void {
    this.#pages.clear();
  }

  /** All elements that are here, by their place in the list. */
  *entries(): Generator<[number, T]> {
    for (const [page, items] of this.#pages) {
      for (const [index, item] of items.entries()) yield [page * this.size + index, item];
    }
  }
}

/** The pages of the places from `first` to before `last`, and one more each way, seen ones first. */
export function pagesOf(first: number, last: number, size: number, total: number): number[] {
  const final = Math.max(0, Math.ceil(total / size) - 1);
  const from = Math.floor(Math.max(0, first) / size);
  const to = Math.max(from, Math.floor(Math.max(0, last - 1) / size));
  const seen = Array.from({ length: to - from + 1 }, (_, index) => from + index);
  return [...seen, to + 1, from - 1].filter((page) => page >= 0 && page <= final);
}
