import { expect, test } from "vitest";
import { decodePoints, encodePoints, PointsFormatError, type Band, type Points } from "../wire/points";
import { csvOf } from "./csv";
import { placesOf } from "./project";
import { excerpt, lineAt, readings } from "./readout";
import { makeRaster, paintLine, pixelsOf } from "./raster";
import { hiddenPoints, lineOf, refine, refineBand, viewOf, type Line } from "./series";
import { svgOf } from "./svg";

function points(x: number[], y: number[], spread = 0): Points {
  const f = (a: number[]) => Float64Array.from(a);
  const exact = spread === 0;
  return {
    id: "exp_001",
    context: "",
    count: exact ? x.length : x.length * 100,
    exact,
    x: f(x),
    min: f(y.map((v) => v - spread)),
    max: f(y.map((v) => v + spread)),
    last: f(y),
  };
}
const style = { label: "one", colour: "#2a59ae", dash: [] };
const line = (p: Points): Line => lineOf(p, p, style, "none", 0);
const linear = { x: "linear", y: "linear" } as const;

test("points travel bit for bit", () => {
  const series = [points([0, 1, 2], [0.1, NaN, -Infinity]), points([], [])].map((p) => ({ ...p, metric: "loss" }));
  const back = decodePoints(encodePoints({ series, x: "step", missing: ["exp_009"], damaged: {} }));
  expect(back).toEqual({ series, x: "step", missing: ["exp_009"], damaged: {} });
});

test("lines of the same x share it", () => {
  const made = [points([0, 1, 2], [1, 2, 3]), points([0, 1, 2], [4, 5, 6]), points([0, 1, 3], [7, 8, 9])];
  const series = made.map((p) => ({ ...p, metric: "loss" }));
  const back = decodePoints(encodePoints({ series, x: "step", missing: [], damaged: {} }));
  expect(back.series).toEqual(series);
  expect(back.series[1]!.x).toBe(back.series[0]!.x);
  expect(back.series[2]!.x).not.toBe(back.series[0]!.x);
});

test("what is no points answer is refused with what is wrong", () => {
  expect(() => decodePoints(new TextEncoder().encode("not points").buffer)).toThrow(PointsFormatError);
  const whole = encodePoints({
    series: [{ ...points([0, 1], [1, 2]), metric: "loss" }],
    x: "step",
    missing: [],
    damaged: {},
  });
  expect(() => decodePoints(whole.slice(0, -8))).toThrow(/past the end/);
});

test("finer points replace the coarse ones of their window only", () => {
  const whole = points([0, 10, 20, 30], [1, 2, 3, 4], 1);
  const out = refine(whole, points([10, 12, 14, 20], [5, 6, 7, 8]));
  expect([...out.x]).toEqual([0, 10, 12, 14, 20, 30]);
  expect([...out.last]).toEqual([1, 5, 6, 7, 8, 4]);
  expect(refine(whole, points([], []))).toBe(whole);
});

test("zooming does not change how a line is smoothed", () => {
  const x = Array.from({ length: 200 }, (_, i) => i);
  const whole = points(
    x,
    x.map((v) => Math.sin(v)),
  );
  const cut = refine(
    whole,
    points(
      x.slice(50, 100),
      x.slice(50, 100).map((v) => Math.sin(v)),
    ),
  );
  for (const kind of ["ema", "gaussian", "median"] as const)
    expect(lineOf(cut, whole, style, kind, 0.9).y).toEqual(lineOf(whole, whole, style, kind, 0.9).y);
});

test("the view holds min and max of what is on screen", () => {
  const all = { xScale: "linear", yScale: "linear", ignoreOutliers: false, x: null, y: null } as const;
  const l = line(points([0, 1, 2, 3, 4], [0, 0, 0, 0, 100], 2));
  expect(viewOf([l], all)!.y[1]).toBeGreaterThan(102);
  expect(viewOf([l], { ...all, x: [0, 1] })!.y[1]).toBeLessThan(3);
  expect(viewOf([line(points([1], [-1]))], { ...all, yScale: "log" })).toBeNull();
  expect(viewOf([], all)).toBeNull();
  expect(viewOf([line(points([7], [3]))], all)).toEqual({ x: [6.3, 7.7], y: [2.7, 3.3] });
});

test("gaps, and what a log axis cannot show", () => {
  const l = line(points([0, 1, 2, 3], [1, NaN, 0, 10]));
  const view = { x: [0, 3], y: [1, 10] } as { x: [number, number]; y: [number, number] };
  const p = placesOf(l, view, { x: "linear", y: "log" }, 300, 100);
  expect([...p.y].map(Math.round)).toEqual([100, NaN, NaN, -0]);
  expect(p.broken).toEqual([100]);
  expect(hiddenPoints([l], "log")).toEqual({ nonFinite: 1, notPositive: 1 });
});

test("a crowd's pixels reach from min to max, in the right column", () => {
  const r = makeRaster(4, 10);
  const f = (...v: number[]) => Float64Array.from(v);
  paintLine(r, f(0.5, 2.5), f(2, 8), f(1, 8), f(4, 8), [255, 0, 0], 1);
  const pixels = pixelsOf(r);
  const alpha = (x: number, y: number) => pixels[(y * 4 + x) * 4 + 3]!;
  expect(alpha(0, 1)).toBeGreaterThan(0);
  expect(alpha(0, 3)).toBe(255);
  expect(alpha(1, 5)).toBeGreaterThan(0); // on the way to the second bucket
  expect(alpha(2, 8)).toBeGreaterThan(0);
  expect(alpha(3, 8)).toBe(0);
});

test("readings are sorted by value; the line under the pointer is found", () => {
  const low = line(points([0, 10], [0, 1]));
  const high = { ...line(points([0, 10], [5, 6])), id: "exp_002", key: "exp_002" };
  const gap = { ...line(points([0, 5, 10], [9, NaN, 9])), id: "exp_003", key: "exp_003" };
  const all = readings([low, high, gap], 5, linear);
  expect(all.map((r) => [r.line.id, r.value])).toEqual([
    ["exp_002", 5.5],
    ["exp_001", 0.5],
    ["exp_003", NaN],
  ]);
  const view = { x: [0, 10], y: [0, 10] } as { x: [number, number]; y: [number, number] };
  expect(lineAt(all, view, linear, 100, 44)?.id).toBe("exp_002");
  expect(lineAt(all, view, linear, 100, 5, 10)).toBeNull();
  expect(excerpt(all, "exp_003", 2)).toMatchObject({ from: 1 });
});

test("CSV is quoted and no cell is a formula", () => {
  const l = { ...line(points([1], [0.5])), label: '=1+"x",y' };
  expect(csvOf("loss", "step", [l]).split("\r\n")[1]).toBe(`exp_001,"'=1+""x"",y",loss,,1,0.5,0.5,0.5,true`);
});

test("the SVG is whole and holds no markup of names", () => {
  const l = { ...line(points([0, 1], [1, 2], 1)), label: "<script>alert(1)</script>\u0000" };
  const view = viewOf([l], { xScale: "linear", yScale: "linear", ignoreOutliers: false, x: null, y: null })!;
  const ink = { text: "#111", grid: "#eee", surface: "#fff", font: "12px sans-serif" };
  const sheet = { title: "a & b", xLabel: "step", kind: "number", width: 640, height: 400, ink } as const;
  const text = svgOf({ lines: [l], view, scales: linear }, sheet);
  expect(text).not.toContain("<script");
  expect(text).not.toContain("\u0000");
  expect(text).toContain("a &amp; b");
  expect(text).not.toContain("NaN");
  expect(text.match(/<path /g)!.length).toBeGreaterThan(5);
});

test("a finer band takes the place of the coarse one where all of its members are sure to count", () => {
  const band = (x: number[], mean: number): Band => {
    const all = Float64Array.from(x, () => mean);
    return { group: 0, members: 2, exact: false, x: Float64Array.from(x), low: all, high: all, mean: all };
  };
  const refined = refineBand(band([0, 10, 20, 30, 40], 1), band([12, 14, 16, 18, 20, 22, 24], 2), [14, 22]);
  expect([...refined.x]).toEqual([0, 10, 14, 16, 18, 20, 30, 40]);
  for (const row of [refined.low, refined.high, refined.mean]) expect([...row]).toEqual([1, 1, 2, 2, 2, 2, 1, 1]);
  const whole = band([0, 10], 1);
  expect(refineBand(whole, band([], 2), [0, 10])).toBe(whole);
});

test("a path is drawn, read and smoothed along itself, to and fro", () => {
  const path = { ...points([0, 2, 1, 0], [1, 3, 2, 5]), exact: false, path: true };
  const drawn = lineOf(path, path, style, "none", 0);
  expect(drawn).toMatchObject({ path: true, exact: true }); // each a point that was logged
  const view = viewOf([drawn], { xScale: "linear", yScale: "linear", ignoreOutliers: false, x: null, y: [0, 5] })!;
  expect([...placesOf(drawn, view, linear, 100, 50).x]).toEqual([0, 100, 50, 0]);
  const zoomed = viewOf([drawn], { xScale: "linear", yScale: "linear", ignoreOutliers: false, x: [0.5, 2], y: null })!;
  expect(zoomed.y[0]).toBeCloseTo(1.96); // of the two in view
  expect([...placesOf(drawn, zoomed, linear, 100, 50).x].length).toBe(4);
  expect(readings([drawn], 1.2, linear)[0]).toMatchObject({ value: 2 });
  expect(readings([drawn], 0, linear)[0]).toMatchObject({ value: 5 }); // the last time it was there
  const still = { ...path, x: Float64Array.from([0, 2, 0, 2]) };
  const even = { ...path, x: Float64Array.from([0, 1, 2, 3]), path: false, exact: true, count: 4 };
  expect([...lineOf(still, still, style, "ema", 0.5).y]).toEqual([...lineOf(even, even, style, "ema", 0.5).y]);
});
