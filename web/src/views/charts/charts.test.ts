import { describe, expect, test } from "vitest";
import type { Points } from "../../wire/points";
import { linesOf, linesOfBands } from "./lines";
import { chartsOf } from "./metrics.svelte";
import { Queue } from "./queue";
import { defaults, format, parse, type Settings } from "./settings.svelte";
import { summaryOf, warningOf } from "./summary";

describe("settings in the address", () => {
  const back = (s: Settings): Settings => {
    const query = new URLSearchParams();
    for (const [key, value] of Object.entries(format(s))) if (value !== null) query.set(key, value);
    return parse(new URLSearchParams(query.toString()));
  };

  test("what is as always is not in it", () => {
    expect(Object.values(format(defaults)).every((v) => v === null)).toBe(true);
    expect(parse(new URLSearchParams())).toEqual(defaults);
  });

  test("a link shows the same", () => {
    const all: Settings = {
      x: "metric:train/a,b & c",
      xLog: true,
      yLog: true,
      smoothing: "median",
      strength: 0.93,
      ignoreOutliers: true,
      syncZoom: true,
      zoom: [-1.5, 1e9],
      by: "config.model.name",
      error: "ci",
      find: "löss, x",
      size: "large",
      folded: ["a,b", "c/d"],
    };
    expect(back(all)).toEqual(all);
  });

  test.each(["chart.zoom=9..1", "chart.smooth=else:7e9", "chart.x=nothing", "chart.size=huge", "chart.zoom=a"])(
    "%s does no harm",
    (text) => {
      const s = parse(new URLSearchParams(text));
      expect(s.zoom).toBeNull();
      expect(s.strength).toBeLessThan(1);
      expect(s.x).toBe("step");
      expect(s.size).toBe("medium");
    },
  );
});

test("contexts share a chart while there are few lines, and get their own above", () => {
  const metrics = [{ name: "loss", contexts: ["train", "val"], experiments: 5 }];
  expect(chartsOf(metrics, 5).map((c) => c.context)).toEqual(["*"]);
  expect(chartsOf(metrics, 100).map((c) => c.key)).toEqual(["loss\ntrain", "loss\nval"]);
  expect(chartsOf([{ name: "lr", contexts: ["train"], experiments: 1 }], 1)[0]!.context).toBe("train");
});

describe("queue", () => {
  const gate = () => {
    let open = () => {};
    const done = new Promise<void>((resolve) => (open = resolve));
    return { done, open: () => open() };
  };

  test("runs a few at once, the next when one is done", async () => {
    const queue = new Queue(2);
    const { signal } = new AbortController();
    const gates = [gate(), gate(), gate()];
    const started: number[] = [];
    const runs = gates.map((g, i) => queue.run(signal, () => (started.push(i), g.done)));
    await Promise.resolve();
    expect(started).toEqual([0, 1]);
    gates[0]!.open();
    await runs[0];
    await Promise.resolve();
    expect(started).toEqual([0, 1, 2]);
    gates.forEach((g) => g.open());
    await Promise.all(runs);
  });

  test("what is aborted while it waits never starts, and what fails makes room", async () => {
    const queue = new Queue(1);
    const stop = new AbortController();
    const first = gate();
    const one = queue.run(new AbortController().signal, async () => {
      await first.done;
      throw new Error("failed");
    });
    let started = false;
    const two = queue.run(stop.signal, async () => (started = true));
    stop.abort();
    await expect(two).rejects.toThrow();
    first.open();
    await expect(one).rejects.toThrow("failed");
    expect(started).toBe(false);
    expect(await queue.run(new AbortController().signal, async () => 7)).toBe(7);
  });

  test("many waiting ones keep to the limit", async () => {
    const queue = new Queue(3);
    const { signal } = new AbortController();
    let running = 0;
    let most = 0;
    await Promise.all(
      Array.from({ length: 20 }, () =>
        queue.run(signal, async () => {
          most = Math.max(most, ++running);
          await Promise.resolve();
          running--;
        }),
      ),
    );
    expect(most).toBe(3);
  });
});

function points(id: string, context: string): Points {
  const f = Float64Array.of(0, 1);
  return { id, context, count: 2, exact: true, x: f, min: f, max: f, last: f };
}
const look = {
  theme: "light",
  people: { names: new Map([["exp_001", "base"]]) },
  smoothing: "ema",
  strength: 0,
} as const;

test("dashes tell contexts apart, else experiments of one colour", () => {
  const both = [points("exp_001", "val"), points("exp_001", "train")];
  expect(linesOf(both, both, look).map((l) => l.dash.length > 0)).toEqual([true, false]);
  const same = [points("exp_001", ""), points("exp_013", "")];
  const [a, b] = linesOf(same, same, look);
  expect(a!.colour).toBe(b!.colour);
  expect(a!.dash).not.toEqual(b!.dash);
  expect([a!.label, b!.label]).toEqual(["exp_001 base", "exp_013"]);
});

test("a band without width closes on its mean", () => {
  const f = (...v: number[]) => Float64Array.from(v);
  const band = { group: 0, members: 2, exact: true, x: f(0, 1), low: f(NaN, 1), high: f(NaN, 3), mean: f(5, 2) };
  const [line] = linesOfBands([band], [{ key: "vae", ids: ["a", "b"] }], "config.model", "dark");
  expect([...line!.low]).toEqual([5, 1]);
  expect(line!.label).toBe("model = vae (n = 2)");
});

test("a chart in words", () => {
  expect(summaryOf("loss", "step", "number", null)).toBe("loss: nothing to show yet");
  expect(warningOf({ nonFinite: 1, notPositive: 0 }, {})).toBe(
    "1 drawn point NaN or infinite, marked at the lower edge",
  );
  expect(warningOf({ nonFinite: 0, notPositive: 0 }, {})).toBe("");
});
