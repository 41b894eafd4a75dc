import type { Route } from "../../router/routes";
import { askAhead } from "../../wire/api";
import { MOST, PAGE, paramsOf } from "./asked";

/** Charts need two files, one of which asks for the other, and then the names of metrics: all of it comes at once. */
export function loadCharts({ name, query }: Route): void {
  if (name !== "compare" || query.get("tab") !== "charts") return;
  void import("../compare/ComparePage.svelte");
  void import("./ChartsPanel.svelte");
  const ids = (query.get("ids") ?? "").split(",").filter(Boolean);
  // Others are known by their ids first.
  if (ids.length > 0 && ids.every((id) => /^exp_\d+$/.test(id))) {
    askAhead("/metrics", paramsOf(ids.slice(0, MOST), query.get("chart.find")?.trim() ?? "", false, PAGE));
  }
}
