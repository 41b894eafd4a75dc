import { isAbort, getJson } from "../../wire/api";
import { paramsOf } from "./asked";

export interface MetricInfo {
  name: string;
  contexts: string[];
  experiments: number;
}

/** One chart: a metric in all of its contexts, or in one of them. */
export interface ChartSpec {
  key: string;
  name: string;
  /** `*` for all, together. */
  context: string;
  contexts: string[];
}

/** Above so many lines, contexts get charts of their own: their dashes could not be told apart. */
const TOGETHER = 40;

/** The names that the experiments have, found by the server: there may be 100,000. */
export class MetricList {
  all: MetricInfo[] = $state.raw([]);
  total = $state(0);
  status: "loading" | "ready" | "error" = $state("loading");
  error: unknown = $state.raw(null);

  load = async (
    ids: readonly string[],
    search: string,
    system: boolean,
    limit: number,
    signal: AbortSignal,
  ): Promise<void> => {
    if (ids.length === 0) return;
    try {
      const params = paramsOf(ids, search, system, limit);
      const found = await getJson<{ total: number; metrics: MetricInfo[] }>("/metrics", params, signal);
      this.all = found.metrics;
      this.total = found.total;
      this.status = "ready";
      this.error = null;
    } catch (error) {
      if (isAbort(error) || signal.aborted) return;
      this.error = error;
      this.status = "error";
    }
  };
}

export function chartsOf(metrics: readonly MetricInfo[], lines: number): ChartSpec[] {
  return metrics.flatMap(({ name, contexts }): ChartSpec[] => {
    if (contexts.length > 1 && contexts.length * lines > TOGETHER) {
      return contexts.map((context) => ({ key: `${name}\n${context}`, name, context, contexts: [context] }));
    }
    const context = contexts.length > 1 ? "*" : (contexts[0] ?? "");
    return [{ key: name, name, context, contexts }];
  });
}
