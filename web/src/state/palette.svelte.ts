export interface PaletteItem {
  /** Unique among all items. */
  id: string;
  text: string;
  detail?: string;
  group: string;
  run: () => void;
}

/** Gives what fits the text; "" asks for what is offered at first. */
export type PaletteSource = (text: string, signal: AbortSignal) => PaletteItem[] | Promise<PaletteItem[]>;

/** What the command palette offers. A view adds its source while it is shown. */
class PaletteState {
  open = $state(false);
  #sources: PaletteSource[] = $state.raw([]);

  get sources(): readonly PaletteSource[] {
    return this.#sources;
  }

  /** Adds a source; returns what takes it away (fit for `onMount`). */
  add = (source: PaletteSource): (() => void) => {
    this.#sources = [...this.#sources, source];
    return () => (this.#sources = this.#sources.filter((other) => other !== source));
  };
}

export const palette = new PaletteState();

/** A source of fixed actions, found by the words of their text. */
export function actions(
  group: string,
  list: () => { text: string; detail?: string; run: () => void }[],
): PaletteSource {
  return (text) => {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    return list()
      .filter((one) => words.every((word) => one.text.toLowerCase().includes(word)))
      .map((one) => ({ ...one, id: `${group}:${one.text}`, group }));
  };
}
