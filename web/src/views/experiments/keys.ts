import type { Shortcut } from "../../state/shortcuts.svelte";
import { store } from "../../state/store.svelte";
import { archive, compare, remove, toggleAll } from "./bulk";
import { selection } from "./selection.svelte";
import { rowHeight } from "./sizes";
import { table } from "./table.svelte";
import { view } from "./view.svelte";

interface Acts {
  open: (id: string) => void;
  /** Scrolls to the active line. */
  reveal: () => void;
  search: () => void;
}

/** The keys of the table: those that work everywhere on the page, and those of the grid itself. */
export function tableKeys(acts: Acts): { shortcuts: Shortcut[]; pressed: (event: KeyboardEvent) => void } {
  function go(to: number) {
    table.active = Math.max(0, Math.min(table.count - 1, to));
    acts.reveal();
  }

  function enter() {
    const item = table.item(table.active);
    if ("group" in item) table.groups.toggle(item.group);
    else if (item.row) acts.open(item.row.experiment_id);
  }

  function mark() {
    const item = table.item(table.active);
    if ("group" in item) selection.add(item.group.ids);
    else if (item.row) selection.toggle(item.row.experiment_id);
  }

  function extend() {
    const id = table.row(table.active)?.experiment_id;
    if (id !== undefined)
      selection.extend(
        id,
        table.here.map((row) => row.experiment_id),
      );
  }

  /** What is marked, or else the experiment at which the keyboard is. */
  function meant(): string[] {
    const here = table.row(table.active)?.experiment_id;
    return selection.size > 0 ? selection.ids : here === undefined ? [] : [here];
  }

  const shortcuts: Shortcut[] = [
    { keys: "j", label: "Next line", run: () => go(table.active + 1) },
    { keys: "k", label: "Line before", run: () => go(table.active - 1) },
    { keys: "x", label: "Select or not", run: mark },
    { keys: "X", label: "Select up to here", run: extend },
    { keys: "mod+a", label: "Select all that fit", run: () => void (selection.size === 0 && toggleAll()) },
    { keys: "Enter", label: "Open", run: enter },
    { keys: "/", label: "Write a query", run: acts.search },
    { keys: "c", label: "Charts beside the table", run: () => view.update({ charts: !view.now.charts }) },
    { keys: "d", label: "Compare the selected", run: () => compare(selection.ids) },
    { keys: "e", label: "Archive", run: () => store.readOnly || void archive(meant()) },
    { keys: "#", label: "Delete", run: () => store.readOnly || void remove(selection.ids) },
    { keys: "Escape", label: "Clear the selection", run: () => selection.set([]) },
  ];

  function pressed(event: KeyboardEvent) {
    if (event.target !== event.currentTarget) return;
    const grid = event.currentTarget as HTMLElement;
    const page = Math.max(1, Math.floor(grid.clientHeight / rowHeight) - 2);
    const to = {
      ArrowDown: table.active + 1,
      ArrowUp: table.active - 1,
      PageDown: table.active + page,
      PageUp: table.active - page,
      Home: 0,
      End: table.count - 1,
    }[event.key];
    const item = table.item(table.active);
    if (to !== undefined) go(to);
    else if (event.key === " ") mark();
    else if (event.key === "ArrowRight" && "group" in item && !item.open) table.groups.toggle(item.group);
    else if (event.key === "ArrowLeft" && "group" in item && item.open) table.groups.toggle(item.group);
    else return;
    event.preventDefault();
  }

  return { shortcuts, pressed };
}
