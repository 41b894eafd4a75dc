import { navigate } from "../../router/router.svelte";
import { comparePath } from "../../router/routes";
import { store } from "../../state/store.svelte";
import { toasts } from "../../state/toasts.svelte";
import { formatCount } from "../../ui/format";
import { getJson, post, type Params } from "../../wire/api";
import type { TablePage } from "../../wire/types";
import { selection } from "./selection.svelte";
import { table } from "./table.svelte";
import { view } from "./view.svelte";

/** Rows, and ids, that a request may be about. */
const atOnce = 1000;
const archived = "archived";

/** Marks every experiment that fits what is asked, or none if some are marked. */
export async function toggleAll(): Promise<void> {
  if (selection.size > 0) return selection.set([]);
  try {
    const params = { ...(JSON.parse(view.list) as Params), limit: atOnce };
    let cursor: string | null = null;
    do {
      const page: TablePage = await getJson<TablePage>("/experiments", { ...params, cursor });
      selection.add(page.rows.map((row) => row.experiment_id));
      cursor = page.next;
    } while (cursor !== null);
  } catch (error) {
    toasts.fail(error);
  }
}

function batches(ids: readonly string[]): string[][] {
  return Array.from({ length: Math.ceil(ids.length / atOnce) }, (_, i) => ids.slice(i * atOnce, (i + 1) * atOnce));
}

export interface Edit {
  add_tags?: string[];
  remove_tags?: string[];
}

/** Edits experiments; true if it was done. */
export async function edit(ids: readonly string[], change: Edit): Promise<boolean> {
  try {
    for (const some of batches(ids)) await post("/experiments/edit", { ids: some, ...change });
    await refresh();
    return true;
  } catch (error) {
    toasts.fail(error);
    return false;
  }
}

/** Takes experiments out of the usual list, or back into it. */
export async function archive(ids: readonly string[], back = false): Promise<void> {
  const done = await edit(ids, back ? { remove_tags: [archived] } : { add_tags: [archived] });
  if (!done) return;
  const undo = () => void archive(ids, !back);
  toasts.show(`${formatCount(ids.length, "experiment")} ${back ? "brought back" : "archived"}`, {
    action: { label: "Undo", run: undo },
  });
  if (!view.now.archived) selection.remove(ids);
}

/** Moves experiments to the trash, from where they can be brought back. */
export async function remove(ids: readonly string[]): Promise<void> {
  try {
    const deleted: string[] = [];
    for (const some of batches(ids)) {
      deleted.push(...(await post<{ deleted: string[] }>("/experiments/delete", { ids: some })).deleted);
    }
    selection.remove(deleted);
    await refresh();
    toasts.show(`${formatCount(deleted.length, "experiment")} deleted`, {
      action: { label: "Undo", run: () => void restore(deleted) },
    });
  } catch (error) {
    toasts.fail(error);
  }
}

async function restore(ids: readonly string[]): Promise<void> {
  try {
    for (const some of batches(ids)) await post("/experiments/restore", { ids: some });
    await refresh();
    toasts.show(`${formatCount(ids.length, "experiment")} brought back`);
  } catch (error) {
    toasts.fail(error);
  }
}

async function refresh(): Promise<void> {
  await Promise.all([table.refresh(), store.load()]);
}

export function compare(ids: readonly string[]): void {
  if (ids.length < 2) toasts.show("Select two or more experiments to compare");
  else navigate(comparePath(ids));
}
