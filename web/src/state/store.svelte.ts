import { getJson } from "../wire/api";
import type { StoreInfo } from "../wire/types";

/** The folder that is shown: its path, how many experiments of which status, its projects. */
class Store {
  #info: StoreInfo | null = $state.raw(null);
  #error: unknown = $state.raw(null);

  get info(): StoreInfo | null {
    return this.#info;
  }

  get error(): unknown {
    return this.#error;
  }

  get readOnly(): boolean {
    return this.#info?.read_only ?? false;
  }

  /** The last part of the folder's path. */
  get name(): string {
    return this.#info?.root.split(/[\\/]/).filter(Boolean).at(-1) ?? "";
  }

  load = async (): Promise<void> => {
    try {
      this.#info = await getJson<StoreInfo>("/store");
      this.#error = null;
    } catch (error) {
      this.#error = error;
    }
  };
}

export const store = new Store();
