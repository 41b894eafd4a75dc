export interface Toast {
  id: number;
  text: string;
  kind: "info" | "bad";
  action?: { label: string; run: () => void };
}

let count = 0;

/** Short notes at the foot of the page; `ui/Toasts.svelte` shows them. */
class Toasts {
  #shown: Toast[] = $state([]);

  get shown(): readonly Toast[] {
    return this.#shown;
  }

  /** Shows a note; one with an action stays longer. */
  show = (text: string, options: { kind?: Toast["kind"]; action?: Toast["action"] } = {}): number => {
    const id = ++count;
    const toast: Toast = { id, text, kind: options.kind ?? "info", action: options.action };
    this.#shown = [...this.#shown.slice(-2), toast];
    setTimeout(() => this.close(id), options.action || toast.kind === "bad" ? 10_000 : 4000);
    return id;
  };

  /** Shows that something failed. */
  fail = (error: unknown): number => this.show(error instanceof Error ? error.message : String(error), { kind: "bad" });

  close = (id: number): void => {
    this.#shown = this.#shown.filter((toast) => toast.id !== id);
  };
}

export const toasts = new Toasts();
