import { describe, expect, test } from "vitest";
import { colourOf, DASHES, dashesOf, PALETTE, rgbOf } from "./colour";

// Severity 1 of Machado, Oliveira & Fernandes 2009, on linear RGB; the identity is normal vision.
const visions = {
  normal: [1, 0, 0, 0, 1, 0, 0, 0, 1],
  protanopia: [0.152286, 1.052583, -0.204868, 0.114503, 0.786281, 0.099216, -0.003882, -0.048116, 1.051998],
  deuteranopia: [0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.01182, 0.04294, 0.968881],
  tritanopia: [1.255528, -0.076749, -0.178779, -0.078411, 0.930809, 0.147602, 0.004733, 0.691367, 0.3039],
};
type Three = [number, number, number];
const times = (m: number[], v: Three): Three =>
  [0, 3, 6].map((r) => m[r]! * v[0] + m[r + 1]! * v[1] + m[r + 2]! * v[2]) as Three;
const linear = (hex: string): Three =>
  rgbOf(hex).map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4)) as Three;
const luminance = (hex: string): number => times([0.2126, 0.7152, 0.0722, 0, 0, 0, 0, 0, 0], linear(hex))[0];
const contrast = (a: string, b: string): number => {
  const [dark, light] = [luminance(a), luminance(b)].sort((x, y) => x - y) as [number, number];
  return (light + 0.05) / (dark + 0.05);
};
function oklab(rgb: Three): Three {
  const clipped = rgb.map((c) => Math.min(1, Math.max(0, c))) as Three;
  const lms = times(
    [
      0.4122214708, 0.5363325363, 0.0514459929, 0.2119034982, 0.6806995451, 0.1073969566, 0.0883024619, 0.2817188376,
      0.6299787005,
    ],
    clipped,
  ).map(Math.cbrt) as Three;
  return times(
    [
      0.2104542553, 0.793617785, -0.0040720468, 1.9779984951, -2.428592205, 0.4505937099, 0.0259040371, 0.7827717662,
      -0.808675766,
    ],
    lms,
  );
}

describe.each(["light", "dark"] as const)("%s", (theme) => {
  test.each(Object.entries(visions))("any two colours differ with %s", (_name, matrix) => {
    const seen = PALETTE[theme].map((c) => oklab(times(matrix, linear(c))));
    for (let i = 0; i < seen.length; i++)
      for (let j = 0; j < i; j++)
        expect(Math.hypot(...seen[i]!.map((v, k) => v - seen[j]![k]!))).toBeGreaterThan(0.075);
  });

  test("each stands out from the background", () => {
    for (const c of PALETTE[theme])
      expect(contrast(c, theme === "light" ? "#ffffff" : "#15191f")).toBeGreaterThanOrEqual(3);
  });
});

test("neighbours differ, and a colour depends on nothing but the experiment", () => {
  const twelve = Array.from({ length: 12 }, (_, i) => colourOf(`exp_${String(i + 1).padStart(3, "0")}`, "light"));
  expect(new Set(twelve).size).toBe(12);
  expect(colourOf("exp_013", "light")).toBe(twelve[0]);
  expect(colourOf("some-uid", "dark")).toBe(colourOf("some-uid", "dark"));
});

test("dashes tell experiments of one colour apart, whatever order they come in", () => {
  const dashes = dashesOf(["exp_025", "exp_001", "exp_002", "exp_013"]);
  expect(dashes.get("exp_001")).toEqual([]);
  expect(dashes.get("exp_002")).toEqual([]);
  expect(dashes.get("exp_013")).toEqual(DASHES[1]);
  expect(dashes.get("exp_025")).toEqual(DASHES[2]);
});

test("long and short colours are read alike", () => {
  expect(rgbOf("#15191f")).toEqual([21, 25, 31]);
  expect(rgbOf("#fff")).toEqual([255, 255, 255]);
});
