/** One way to do a thing by keyboard. `keys` is `j`, `X` (with shift), `Escape`, `mod+k` or a sequence, `g e`. */
export interface Shortcut {
  keys: string;
  label: string;
  run: (event: KeyboardEvent) => void;
  /** Works while a text field has the focus, too. */
  always?: boolean;
  /** Left out of the help. */
  hidden?: boolean;
}

export interface ShortcutGroup {
  title: string;
  shortcuts: Shortcut[];
}

const between = 800;

/** The keys that work now. A view adds its own while it is shown. */
class Shortcuts {
  #groups: ShortcutGroup[] = $state.raw([]);
  #before = "";
  #at = 0;

  get groups(): readonly ShortcutGroup[] {
    return this.#groups;
  }

  /** Adds a group; returns what takes it away (fit for `onMount`). */
  add = (title: string, shortcuts: Shortcut[]): (() => void) => {
    const group = { title, shortcuts };
    this.#groups = [...this.#groups, group];
    return () => (this.#groups = this.#groups.filter((other) => other !== group));
  };

  handle = (event: KeyboardEvent): void => {
    if (event.defaultPrevented || event.isComposing) return;
    const key = nameOf(event);
    if ((event.key === "Enter" || event.key === " ") && isPressable(event.target)) return;
    const sequence = event.timeStamp - this.#at < between && this.#before !== "" ? `${this.#before} ${key}` : "";
    const typing = isTyping(event.target) || document.querySelector("dialog[open]") !== null;
    for (const wanted of [sequence, key]) {
      if (wanted === "") continue;
      const found = this.#find(wanted, typing);
      if (!found) continue;
      this.#before = "";
      event.preventDefault();
      found.run(event);
      return;
    }
    this.#before = typing ? "" : key;
    this.#at = event.timeStamp;
  };

  #find(keys: string, typing: boolean): Shortcut | undefined {
    for (const group of [...this.#groups].reverse()) {
      const found = group.shortcuts.find((one) => one.keys === keys && (!typing || one.always === true));
      if (found) return found;
    }
    return undefined;
  }
}

function nameOf(event: KeyboardEvent): string {
  const key = event.key === " " ? "Space" : event.key;
  const named = key.length > 1 && event.shiftKey ? `shift+${key}` : key;
  if (event.ctrlKey || event.metaKey) return `mod+${key.toLowerCase()}`;
  return event.altKey ? `alt+${named}` : named;
}

/** What the key presses by itself. */
function isPressable(target: EventTarget | null): boolean {
  return target instanceof Element && target.closest("button, a, input, select, summary, [role=option]") !== null;
}

function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement)
    return true;
  return target instanceof HTMLInputElement && !["checkbox", "radio", "range", "button"].includes(target.type);
}

export const shortcuts = new Shortcuts();
