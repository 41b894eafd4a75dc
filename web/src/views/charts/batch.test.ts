import { expect, test } from "vitest";
import type { Points, PointsReply } from "../../wire/points";
import { Batch, type Rest } from "./batch";
import { Queue } from "./queue";

const none = new Float64Array();
const line = (id: string, metric: string): Points & { metric: string } => {
  return { id, metric, context: "", count: 0, exact: true, x: none, min: none, max: none, last: none };
};
const rest = (ids = ["a", "b"], n = 100): Rest => ({ ids, context: "", n, x: "step" });

function asked(reply: (metrics: string[], rest: Rest) => Promise<PointsReply>) {
  const seen: { metrics: string[]; n: number; signal: AbortSignal }[] = [];
  const batch = new Batch((metrics, rest, signal) => {
    seen.push({ metrics, n: rest.n, signal });
    return reply(metrics, rest);
  }, new Queue(9));
  return { batch, seen };
}

const answer = async (metrics: string[], { ids }: Rest): Promise<PointsReply> => ({
  series: ids.flatMap((id) => metrics.filter((m) => m !== "lr" || id === "a").map((m) => line(id, m))),
  x: "step",
  missing: [],
  damaged: { b: "torn" },
});

test("charts that ask at once share a request, and each gets its own lines", async () => {
  const { batch, seen } = asked(answer);
  const { signal } = new AbortController();
  const [loss, lr, again, other] = await Promise.all([
    batch.ask("loss", rest(), signal),
    batch.ask("lr", rest(), signal),
    batch.ask("loss", rest(), signal),
    batch.ask("loss", rest(["a"], 50), signal),
  ]);
  expect(seen.map(({ metrics, n }) => [...metrics, n])).toEqual([
    ["loss", "lr", 100],
    ["loss", 50],
  ]);
  expect(loss!.series.map((s) => s.id)).toEqual(["a", "b"]);
  expect(lr!.series.map((s) => s.id)).toEqual(["a"]);
  expect([loss!.damaged, lr!.damaged]).toEqual([{}, { b: "torn" }]);
  expect(again).toEqual(loss);
  expect(other!.series.map((s) => s.id)).toEqual(["a"]);
});

test("many lines come in several answers", async () => {
  const { batch, seen } = asked(answer);
  const { signal } = new AbortController();
  const ids = Array.from({ length: 200 }, (_, i) => `exp_${i}`);
  await Promise.all(["p", "q", "r"].map((metric) => batch.ask(metric, rest(ids), signal)));
  expect(seen.map((one) => one.metrics)).toEqual([["p", "q"], ["r"]]);
});

test("a request ends when all who wait for it have given up, and not before", async () => {
  const { batch, seen } = asked(() => new Promise(() => {}));
  const [first, second] = [new AbortController(), new AbortController()];
  const waits = [batch.ask("loss", rest(), first.signal), batch.ask("lr", rest(), second.signal)];
  await new Promise((done) => setTimeout(done, 5));
  first.abort();
  await expect(waits[0]).rejects.toThrow(/abort/);
  expect(seen[0]!.signal.aborted).toBe(false);
  second.abort();
  await expect(waits[1]).rejects.toThrow(/abort/);
  expect(seen[0]!.signal.aborted).toBe(true);
});

test("what goes wrong is told to all", async () => {
  const { batch } = asked(() => Promise.reject(new Error("offline")));
  const { signal } = new AbortController();
  const waits = [batch.ask("loss", rest(), signal), batch.ask("lr", rest(), signal)];
  for (const wait of waits) await expect(wait).rejects.toThrow("offline");
});
