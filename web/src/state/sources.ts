import { navigate } from "../router/router.svelte";
import { experimentPath } from "../router/routes";
import { getJson } from "../wire/api";
import type { TablePage } from "../wire/types";
import type { PaletteItem } from "./palette.svelte";

/** Experiments whose id or name holds the text. */
export async function experimentSource(text: string, signal: AbortSignal): Promise<PaletteItem[]> {
  const holds = JSON.stringify(text);
  const q = text === "" ? undefined : `${holds} in name or ${holds} in experiment_id`;
  const page = await getJson<TablePage>("/experiments", { q, limit: 8 }, signal);
  return page.rows.map((row) => ({
    id: `experiment:${row.experiment_id}`,
    text: row.name || row.experiment_id,
    detail: `${row.experiment_id} · ${row.status}`,
    group: "Experiments",
    run: () => navigate(experimentPath(row.experiment_id)),
  }));
}
