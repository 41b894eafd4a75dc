import { toasts } from "../../state/toasts.svelte";
import { post } from "../../wire/api";

export interface Edit {
  add_tags?: string[];
  remove_tags?: string[];
  note?: string;
  name?: string;
  description?: string;
}

/** Changes an experiment; tells what failed and returns whether it was done. */
export async function edit(id: string, change: Edit): Promise<boolean> {
  try {
    await post("/experiments/edit", { ids: [id], ...change });
    return true;
  } catch (error) {
    toasts.fail(error);
    return false;
  }
}
