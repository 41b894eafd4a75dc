import { describe, expect, test } from "vitest";
import { formatRelative, formatNumber, formatTime } from "./format";
import { nearest } from "./nearest";
import { extent, fraction, padded, panned, valueAt, withoutOutliers, zoomed } from "./range";
import { sections, shortName } from "./sections";
import { ticks } from "./ticks";

const labels = (...args: Parameters<typeof ticks>) => ticks(...args).map((t) => t.label);

test.each([
  [0.1234567, "0.1235"],
  [1234567, "1.235e6"],
  [-0.00001, "−1e−5"],
  [100000, "100000"],
  [0, "0"],
  [NaN, "NaN"],
  [-Infinity, "−∞"],
])("formatNumber(%d) is %s", (value, text) => expect(formatNumber(value)).toBe(text));

test.each([
  [0, "0 s"],
  [1.25, "1.25 s"],
  [61, "1 min 1 s"],
  [3600, "1 h"],
  [90061, "1 d 1 h"],
])("formatRelative(%d) is %s", (value, text) => expect(formatRelative(value)).toBe(text));

test("ticks have the decimals their distance needs", () => {
  expect(labels([0, 1], "linear", "number", 5)).toEqual(["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
  expect(labels([0, 100_000], "linear", "number", 5)).toEqual(["0", "20k", "40k", "60k", "80k", "100k"]);
  expect(labels([-0.001, 0.001], "linear", "number", 2)).toEqual(["−0.001", "0", "0.001"]);
  expect(labels([0, 1_200_000], "linear", "number", 3)).toEqual(["0", "500k", "1.0M"]);
});

test("labels of neighbouring ticks are never equal, from 1e-12 to 1e30", () => {
  for (let e = -12; e <= 30; e++) {
    for (const low of [0, 3]) {
      const found = labels([low * 10 ** e, (low + 1.7) * 10 ** e], "linear", "number", 6);
      expect(found.length, `1e${e}`).toBeGreaterThan(1);
      expect(new Set(found).size, found.join(" ")).toBe(found.length);
    }
  }
});

test("a log axis has powers of ten, with 2 and 5 if there is room", () => {
  expect(labels([1e-3, 1e3], "log", "number", 8)).toEqual(["0.001", "0.01", "0.1", "1", "10", "100", "1000"]);
  expect(labels([1, 100], "log", "number", 8)).toEqual(["1", "2", "5", "10", "20", "50", "100"]);
  expect(labels([1e-30, 1e30], "log", "number", 7).length).toBeLessThanOrEqual(8);
});

test("durations and times fall on whole units", () => {
  expect(labels([0, 7200], "linear", "relative", 4)).toEqual(["0 s", "30 min", "1 h", "1 h 30 min", "2 h"]);
  const noon = new Date(2026, 0, 5, 12, 3).getTime();
  expect(labels([noon, noon + 3_600_000], "linear", "time", 4)).toEqual(["12:15", "12:30", "12:45", "13:00"]);
  expect(formatTime(noon)).toBe("2026-01-05 12:03:00");
});

describe("range", () => {
  test("a log scale sees no value of 0 and below, and none that is not finite", () => {
    const a = [Float64Array.of(-1, 0, NaN, 1e-3, Infinity, 10)];
    expect(extent(a, "log")).toEqual([1e-3, 10]);
    expect(extent(a, "linear")).toEqual([-1, 10]);
    expect(extent([Float64Array.of(-1, 0)], "log")).toBeNull();
    expect(fraction(0, [1, 10], "log")).toBeNaN();
  });

  test("outliers are left out, a constant and few points are not", () => {
    const a = Float64Array.from({ length: 1000 }, (_, i) => (i === 500 ? 1e9 : i / 1000));
    const [low, high] = withoutOutliers([a])!;
    expect(high).toBeLessThan(1.2);
    expect(low).toBe(0);
    expect(withoutOutliers([Float64Array.of(1, 1, 1e9)])).toEqual([1, 1e9]);
    expect(withoutOutliers([new Float64Array(10).fill(2)])).toEqual([2, 2]);
  });

  test("one value has a range around it", () => {
    expect(padded([5, 5], "linear")).toEqual([4.5, 5.5]);
    expect(padded([0, 0], "linear")).toEqual([-1, 1]);
    expect(padded([2, 2], "log")).toEqual([1, 4]);
  });

  test("places and values are inverse; zoom keeps what is under the pointer", () => {
    for (const scale of ["linear", "log"] as const) {
      expect(fraction(valueAt(0.3, [2, 50], scale), [2, 50], scale)).toBeCloseTo(0.3, 12);
      const after = zoomed([2, 50], scale, 0.5, 0.3);
      expect(valueAt(0.3, after, scale)).toBeCloseTo(valueAt(0.3, [2, 50], scale), 10);
    }
    expect(panned([0, 10], "linear", 0.1)).toEqual([1, 11]);
  });
});

test("nearest finds the point beside the pointer", () => {
  const x = Float64Array.of(0, 10, 20);
  expect([-5, 4, 6, 15, 99].map((at) => nearest(x, at))).toEqual([0, 0, 1, 1, 2]);
  expect(nearest(new Float64Array(), 1)).toBe(-1);
});

test("sections go by prefix, unprefixed first, numbers counted", () => {
  const found = sections(["train/layer10", "loss", "train/layer2", "system.cpu", "val/acc"].map((name) => ({ name })));
  expect(found.map((s) => [s.name, s.items.map((i) => i.name)])).toEqual([
    ["Metrics", ["loss"]],
    ["system", ["system.cpu"]],
    ["train", ["train/layer2", "train/layer10"]],
    ["val", ["val/acc"]],
  ]);
  expect(shortName("train/a/b")).toBe("a/b");
});
