import { ApiError, apiUrl, getJson } from "../wire/api";
import type { Alert, Change } from "../wire/types";

type ChangeHandler = (ids: string[], change: Change) => void;
type AlertHandler = (alert: Alert) => void;

const quickest = 1000;
const slowest = 15_000;

/** What the server tells while the page is open. Lost connections come back by themselves. */
class Live {
  #version: string | number | null = $state(null);
  #connected = $state(false);
  #letIn = $state(true);
  #source: EventSource | null = null;
  #wait = quickest;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #changes = new Set<ChangeHandler>();
  #alerts = new Set<AlertHandler>();

  get version(): string | number | null {
    return this.#version;
  }

  get connected(): boolean {
    return this.#connected;
  }

  /** Whether this browser may look, as far as is known. */
  get letIn(): boolean {
    return this.#letIn;
  }

  /** Calls back with the ids of experiments that changed; returns what ends it. */
  onChanged = (handler: ChangeHandler): (() => void) => {
    this.#changes.add(handler);
    return () => this.#changes.delete(handler);
  };

  /**
   * Something is shown as of this version that was asked for before the server was listened to; what changed in
   * between is told as well.
   */
  shownAsOf = (version: string | number): void => {
    if (this.#version === null) this.#version = version;
    else if (this.#version !== version) this.#tell({ version: this.#version, ids: [], removed: [], more: true });
  };

  onAlert = (handler: AlertHandler): (() => void) => {
    this.#alerts.add(handler);
    return () => this.#alerts.delete(handler);
  };

  start = (): (() => void) => {
    this.#open();
    return () => {
      clearTimeout(this.#timer);
      this.#source?.close();
      this.#source = null;
      this.#connected = false;
    };
  };

  #open(): void {
    const source = new EventSource(apiUrl("/events"));
    this.#source = source;
    source.addEventListener("hello", (event) => {
      const { version } = JSON.parse(event.data) as { version: string | number };
      const missed = this.#version !== null && this.#version !== version;
      this.#version = version;
      this.#connected = this.#letIn = true;
      this.#wait = quickest;
      if (missed) this.#tell({ version, ids: [], removed: [], more: true });
    });
    source.addEventListener("changed", (event) => this.#tell(JSON.parse(event.data) as Change));
    source.addEventListener("alert", (event) => {
      const alert = JSON.parse(event.data) as Alert;
      for (const handler of this.#alerts) handler(alert);
    });
    source.addEventListener("error", () => {
      this.#connected = false;
      if (source.readyState === EventSource.CLOSED) void this.#askWhy(); // it was refused: events do not tell why
      source.close();
      this.#timer = setTimeout(() => this.#open(), this.#wait);
      this.#wait = Math.min(this.#wait * 2, slowest);
    });
  }

  async #askWhy(): Promise<void> {
    try {
      await getJson("/store");
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) this.#letIn = false;
    }
  }

  #tell(change: Change): void {
    this.#version = change.version;
    for (const handler of this.#changes) handler(change.ids, change);
  }
}

export const live = new Live();
