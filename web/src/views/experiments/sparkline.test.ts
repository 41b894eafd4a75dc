import { expect, test } from "vitest";
import { sparkPath } from "./sparkline";

test("spans the box from the smallest to the largest value", () => {
  expect(sparkPath([0, 1, 0.5], 20, 10)).toBe("M0 10L10 0L20 5");
});

test("leaves a gap where a value is missing, and draws a lone one as a dot", () => {
  expect(sparkPath([0, NaN, 1, 1], 30, 10)).toBe("M0 10h.01M20 0L30 0");
  expect(sparkPath([null, Infinity], 30, 10)).toBe("");
});

test("a constant lies in the middle", () => expect(sparkPath([3, 3], 10, 10)).toBe("M0 5L10 5"));
