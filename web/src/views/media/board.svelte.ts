import { SvelteMap } from "svelte/reactivity";
import { unionOf } from "../../media/rows";
import type { MediaItem, MediaKey } from "../../wire/media";
import { mediaItems } from "../../wire/media";
import { isAbort } from "../../wire/api";
import type { MediaRow } from "../../media/rows";

/** One picture of a track that the dialog goes through. */
export interface Frame {
  digest: string;
  label: string;
  caption: string;
  width: number;
  height: number;
}

/** What the dialog shows: tracks (experiments) of frames (steps). */
export interface Show {
  title: string;
  tracks: { id: string; frames: Frame[] }[];
  track: number;
  frame: number;
}

/** What the rows of a panel share. */
export class Board {
  /** Names of the experiments. */
  names: ReadonlyMap<string, string> = $state.raw(new Map());
  /** One slider for all rows. */
  together = $state(false);
  /** The step that is shown where rows go together; null for the latest. */
  step: number | null = $state(null);
  show: Show | null = $state.raw(null);
  readonly #steps = new SvelteMap<string, number[]>();
  /** All steps known so far. */
  readonly steps = $derived(unionOf([...this.#steps.values()]));

  /** How many experiments stand side by side. */
  count = $state(1);

  get several(): boolean {
    return this.count > 1;
  }

  /** Two: there is room for two rows beside each other. */
  get pair(): boolean {
    return this.count === 2;
  }

  tell(row: string, steps: number[]): void {
    this.#steps.set(row, steps);
  }

  nameOf(id: string): string {
    return this.names.get(id) ?? id;
  }
}

/** The items of one row, experiment by experiment. */
export class RowItems {
  of: ReadonlyMap<string, readonly MediaItem[]> = $state.raw(new Map());
  error: unknown = $state.raw(null);
  ready = $state(false);
  readonly #seen = new Map<string, MediaKey>();

  /** Fetches what is not there yet, or has changed since. */
  load = async (row: MediaRow, signal: AbortSignal): Promise<void> => {
    const wanted = row.of.filter(({ id, key }) => {
      const seen = this.#seen.get(id);
      return seen?.count !== key.count || seen.last_step !== key.last_step;
    });
    try {
      const found = await Promise.all(wanted.map(({ id, key }) => this.#fetch(id, key, signal)));
      signal.throwIfAborted();
      const items = new Map(this.of);
      wanted.forEach(({ id, key }, i) => {
        items.set(id, found[i]!);
        this.#seen.set(id, key);
      });
      this.of = items;
      this.error = null;
      this.ready = true;
    } catch (error) {
      if (!isAbort(error)) this.error = error;
    }
  };

  /** Only what came after the last item, where that is all that is new. */
  async #fetch(id: string, key: MediaKey, signal: AbortSignal): Promise<readonly MediaItem[]> {
    const [seen, items] = [this.#seen.get(id), this.of.get(id)];
    const last = items?.at(-1);
    if (seen && items && last && key.count > seen.count) {
      const later = await mediaItems(id, key.name, key.context, last.step + 1, signal);
      if (key.last_step > seen.last_step && later.length + items.length >= key.count) return [...items, ...later];
    }
    return mediaItems(id, key.name, key.context, null, signal);
  }
}
