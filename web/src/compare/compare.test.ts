import { describe, expect, test } from "vitest";
import { boxesOf, boxOf, quantile } from "./box";
import { axisX, brushBetween, isKept, linePath, nudged, placeAt, placeY } from "./parallel";
import { axisOf, varies } from "./quantity";
import { rampColour } from "./ramp";

const frame = { width: 300, top: 10, height: 100, side: 50 };

describe("axes", () => {
  test("numbers lie between the ends, with room", () => {
    const axis = axisOf({ id: "loss", values: [0, 10, null, 5, NaN] });
    expect([axis.kind, axis.scale]).toEqual(["number", "linear"]);
    expect(axis.places.map((place) => place && Math.round(place * 1000))).toEqual([45, 955, null, 500, null]);
    expect(axis.ticks.map((tick) => tick.label)).toContain("10");
  });

  test("positive numbers over one and a half decades are spread by their logarithm", () => {
    const axis = axisOf({ id: "lr", values: [0.001, 0.01, 0.1] });
    expect(axis.scale).toBe("log");
    expect(axis.places[1]).toBeCloseTo(0.5);
    expect(axisOf({ id: "lr", values: [3e-4, 1e-2] }).scale).toBe("log");
    expect(axisOf({ id: "width", values: [64, 512] }).scale).toBe("linear");
    expect(axisOf({ id: "lr", values: [-1, 100] }).scale).toBe("linear");
  });

  test("one value alone lies in the middle", () =>
    expect(axisOf({ id: "a", values: [3, 3] }).places[0]).toBeCloseTo(0.5));

  test("texts and mixed values are categories, in natural order", () => {
    const axis = axisOf({ id: "model", values: ["b10", "b9", null, true] });
    expect(axis.kind).toBe("category");
    expect(axis.categories).toEqual(["b9", "b10", "true"]);
    expect(axis.places).toEqual([0.5, 1 / 6, null, 5 / 6]);
  });

  test("what is the same everywhere tells nothing apart", () => {
    expect(varies({ id: "a", values: [1, null, 1] })).toBe(false);
    expect(varies({ id: "a", values: [1, "1"] })).toBe(true);
  });
});

describe("parallel coordinates", () => {
  const axes = [
    axisOf({ id: "a", values: [0, 10] }),
    axisOf({ id: "b", values: [null, "x"] }),
    axisOf({ id: "c", values: [1, 2] }),
  ];

  test("a line breaks where a value is missing", () => {
    expect(linePath(axes, 0, frame)).toMatch(/^M50.0,[\d.]+M250.0,[\d.]+$/);
    expect(linePath(axes, 1, frame)).toMatch(/^M50.0,[\d.]+L150.0,60.0L250.0,[\d.]+$/);
  });

  test("places and pixels", () => {
    expect(axisX(0, 1, frame)).toBe(150);
    expect(placeAt(placeY(0.3, frame), frame)).toBeCloseTo(0.3);
    expect([placeAt(-99, frame), placeAt(999, frame)]).toEqual([1, 0]);
  });

  test("brushes leave what lies inside all of them", () => {
    const brushes = new Map([["a", [0.5, 1] as const]]);
    expect([0, 1].map((i) => isKept(axes, brushes, i))).toEqual([false, true]);
    expect(isKept(axes, new Map([["b", [0, 1] as const]]), 0)).toBe(false);
    expect(brushBetween(0.8, 0.2)).toEqual([0.2, 0.8]);
    expect(brushBetween(0.5, 0.505)).toBeNull();
    expect(nudged([0.2, 0.4], 2).map((v) => Number(v.toFixed(3)))).toEqual([0.8, 1]);
  });
});

describe("boxes", () => {
  test("quartiles as NumPy has them", () => {
    expect([0.25, 0.5, 0.75].map((share) => quantile([1, 2, 3, 4], share))).toEqual([1.75, 2.5, 3.25]);
  });

  test("values far outside are outliers", () => {
    const box = boxOf(
      "a",
      [1, 2, 3, 4, 100].map((value, index) => ({ value, index })),
    )!;
    expect([box.n, box.whiskers, box.mean]).toEqual([5, [1, 4], 22]);
    expect(box.values.filter((one) => one.outlier).map((one) => one.index)).toEqual([4]);
  });

  test("groups without a value have no box", () => {
    const boxes = boxesOf([1, null, 3, NaN], ["a", "b", "a", "c"], ["c", "b", "a"]);
    expect(boxes.map((box) => [box.label, box.n])).toEqual([["a", 2]]);
    expect(boxOf("x", [{ value: 7, index: 0 }])?.quartiles).toEqual([7, 7, 7]);
  });
});

test("the ramp ends where it should", () => {
  expect(rampColour(0, "light")).toBe("rgb(191 160 28)");
  expect(rampColour(2, "dark")).toBe("rgb(250 226 90)");
});
