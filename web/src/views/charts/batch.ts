import type { Points, PointsReply } from "../../wire/points";
import { Queue } from "./queue";

/** What a chart asks for besides its metric; charts of which all of it is the same can share a request. */
export interface Rest {
  ids: string[];
  context: string;
  n: number;
  x: string;
  from?: number;
  to?: number;
}

/** What an answer says of one metric. */
export interface Part {
  series: Points[];
  damaged: Record<string, string>;
}

type Fetch = (metrics: string[], rest: Rest, signal: AbortSignal) => Promise<PointsReply>;

interface Ask {
  metric: string;
  signal: AbortSignal;
  resolve: (part: Part) => void;
  reject: (error: unknown) => void;
}

/** Lines in one answer: enough that requests cost little beside them, few enough that charts come one after the other. */
const LINES = 500;
/** As many as the server takes. */
const METRICS = 20;

/**
 * Gathers the charts that ask in the same moment into few requests: twenty charts of a hundred lines in four, for
 * which the server looks at each experiment four times instead of twenty, and the page lays itself out as often.
 */
export class Batch {
  #waiting = new Map<string, { rest: Rest; asks: Ask[] }>();

  constructor(
    readonly fetch: Fetch,
    readonly queue: Queue,
  ) {}

  ask(metric: string, rest: Rest, signal: AbortSignal): Promise<Part> {
    return new Promise((resolve, reject) => {
      if (this.#waiting.size === 0) setTimeout(this.#send);
      const key = JSON.stringify(rest);
      const group = this.#waiting.get(key) ?? { rest, asks: [] };
      this.#waiting.set(key, group);
      group.asks.push({ metric, signal, resolve, reject });
    });
  }

  #send = (): void => {
    const groups = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { rest, asks } of groups) {
      const metrics = [...new Set(asks.map((a) => a.metric))];
      const most = Math.min(METRICS, Math.max(1, Math.floor(LINES / rest.ids.length)));
      for (let i = 0; i < metrics.length; i += most) {
        const some = metrics.slice(i, i + most);
        void this.#run(
          some,
          rest,
          asks.filter((a) => some.includes(a.metric)),
        );
      }
    }
  };

  /** Who gives up hears so at once; the request goes on while anybody waits for it. */
  async #run(metrics: string[], rest: Rest, asks: Ask[]): Promise<void> {
    const control = new AbortController();
    let left = asks.length;
    const leave = (a: Ask): void => {
      a.reject(a.signal.reason);
      if (--left === 0) control.abort();
    };
    for (const a of asks) {
      if (a.signal.aborted) leave(a);
      else a.signal.addEventListener("abort", () => leave(a), { once: true });
    }
    try {
      const reply = await this.queue.run(control.signal, () => this.fetch(metrics, rest, control.signal));
      for (const a of asks) a.resolve(partOf(reply, a.metric));
    } catch (error) {
      for (const a of asks) a.reject(error);
    }
  }
}

function partOf(reply: PointsReply, metric: string): Part {
  const series = reply.series.filter((s) => s.metric === metric);
  const whole = new Set(series.map((s) => s.id));
  return { series, damaged: Object.fromEntries(Object.entries(reply.damaged).filter(([id]) => !whole.has(id))) };
}
