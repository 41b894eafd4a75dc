import { describe, expect, test } from "vitest";
import { ema, gaussian, runningMedian, smooth, unitOf } from "./smooth";

const f = (...values: number[]) => Float64Array.from(values);
const even = (n: number) => Float64Array.from({ length: n }, (_, i) => i);

describe("ema", () => {
  test("on even points is the debiased average, in closed form", () => {
    const y = f(1, 3, 2, 5);
    const w = 0.6;
    let s = 0;
    const wanted = [...y].map((v, t) => (s = w * s + (1 - w) * v) / (1 - w ** (t + 1)));
    ema(even(4), y, w, 1).forEach((v, i) => expect(v).toBeCloseTo(wanted[i]!, 12));
  });

  test("a constant stays as it is from the first point on", () => {
    expect([...ema(even(5), f(4, 4, 4, 4, 4), 0.99, 1)].every((v) => Math.abs(v - 4) < 1e-12)).toBe(true);
  });

  test("a gap of two units forgets as much as two points", () => {
    const [, near] = ema(f(0, 1), f(0, 1), 0.5, 1);
    const [, far] = ema(f(0, 2), f(0, 1), 0.5, 1);
    expect(near).toBeCloseTo(2 / 3, 12);
    expect(far).toBeCloseTo(0.5 / (0.125 + 0.5), 12);
  });

  test("values that are not finite stay and are skipped", () => {
    const out = ema(even(4), f(1, NaN, Infinity, 1), 0.5, 1);
    expect(out[1]).toBeNaN();
    expect(out[2]).toBe(Infinity);
    expect(out[3]).toBe(1);
  });
});

test("gaussian keeps a line straight in the middle and never leaves the values' range", () => {
  const y = Float64Array.from(even(41), (v) => 2 * v);
  const out = gaussian(even(41), y, 2, 1);
  expect(out[20]).toBeCloseTo(40, 10);
  expect(out[0]!).toBeGreaterThan(0);
  expect(out.every((v) => v >= 0 && v <= 80)).toBe(true);
});

test("the running median takes out a lone spike; an uneven x counts by distance", () => {
  expect([...runningMedian(even(5), f(1, 1, 99, 1, 1), 2, 1)]).toEqual([1, 1, 1, 1, 1]);
  expect([...runningMedian(f(0, 10, 20), f(1, 5, 9), 2, 1)]).toEqual([1, 5, 9]);
  expect(runningMedian(even(3), f(1, NaN, 3), 2, 1)[1]).toBeNaN();
});

test("a unit is the mean distance, of at most a thousand points", () => {
  expect(unitOf(0, 9, 10)).toBe(1);
  expect(unitOf(0, 99_900, 100_000)).toBe(100);
  expect(unitOf(5, 5, 1)).toBe(0);
});

test("strength 0 is the series itself; a single point and equal x are kept by every kind", () => {
  const y = f(1, 2);
  expect(smooth("ema", 0, even(2), y, 1)).toBe(y);
  for (const kind of ["ema", "gaussian", "median"] as const) {
    expect([...smooth(kind, 0.9, f(3), f(7), 0)]).toEqual([7]);
    expect(smooth(kind, 0.9, f(3, 3), f(7, 7), 0)[1]).toBeCloseTo(7, 12);
  }
});
