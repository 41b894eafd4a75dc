import { expect, test } from "vitest";
import {
  formatBytes,
  formatMeasure,
  formatAge,
  formatCell,
  formatCount,
  formatDuration,
  formatSpread,
  formatWhole,
  fullCell,
} from "./format";

test.each([
  [0, "0 ms"],
  [0.0444, "44 ms"],
  [0.9999, "1.0 s"],
  [9.94, "9.9 s"],
  [9.96, "10 s"],
  [59.6, "1m 00s"],
  [60, "1m 00s"],
  [245, "4m 05s"],
  [3599.6, "1h 00m"],
  [7980, "2h 13m"],
  [86_400 * 3 + 3600, "3d 01h"],
  [NaN, ""],
])("a span of %f s is %s", (seconds, text) => expect(formatDuration(seconds)).toBe(text));

test.each([
  [0, "just now"],
  [-5, "just now"],
  [42, "42 s ago"],
  [180, "3 min ago"],
  [7200, "2 h ago"],
  [86_400 * 5, "5 d ago"],
])("%i s back is %s", (seconds, text) => expect(formatAge(1e12 - seconds * 1000, 1e12)).toBe(text));

test.each([
  [0, "0"],
  [999, "999"],
  [1000, "1,000"],
  [-12_345_678, "-12,345,678"],
])("%i is written %s", (count, text) => expect(formatWhole(count)).toBe(text));

test("what is longer ago than a month is a day", () => {
  expect(formatAge(0, 86_400_000 * 31)).toMatch(/^(1970-01-01|1969-12-31)$/);
});

test.each([
  [0.000123456, "1.235e−4".replace("−", "\u2212")],
  [0.123456, "0.1235"],
  [12345678, "1.235e7"],
  ["NaN" as const, "NaN"],
  ["-Infinity" as const, "\u2212∞"],
  [true, "true"],
  ["adam", "adam"],
  [null, ""],
])("the cell of %s is %s", (value, text) => expect(formatCell(value)).toBe(text));

test("the full value keeps every digit", () => expect(fullCell(0.1234567890123)).toBe("0.1234567890123"));
test("a mean with and without a deviation", () => {
  expect(formatSpread(0.42131, 0.01234)).toBe("0.4213 ± 0.012");
  expect(formatSpread(0.42131, null)).toBe("0.4213");
});
test("nouns follow their number", () => {
  expect([formatCount(1, "row"), formatCount(12345, "row")]).toEqual(["1 row", "12,345 rows"]);
  expect(formatCount(2, "file differs", "files differ")).toBe("2 files differ");
});

test.each([
  [0, "0 B"],
  [999, "999 B"],
  [1000, "1.0 kB"],
  [21_449, "21.4 kB"],
  [999_600, "1.0 MB"],
  [104_857_600, "105 MB"],
])("%d bytes are %s", (bytes, text) => expect(formatBytes(bytes)).toBe(text));

test.each([
  [0.843, "0.8430"],
  [-1.07, "\u22121.070"],
  [0.9999999, "1.000"],
  [12, "12"],
  [123456.7, "123457"],
  [0.0001234, "1.234e\u22124"],
  ["NaN" as const, "NaN"],
])("the measure %s is %s", (value, text) => expect(formatMeasure(value)).toBe(text));
