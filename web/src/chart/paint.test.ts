import { expect, test, vi } from "vitest";
import { paint, STROKES } from "./paint";
import type { Line } from "./series";

test("in a crowd every line is seen, in front of what lies between the least and the most of all", () => {
  let drawn = new Uint8ClampedArray();
  vi.stubGlobal(
    "ImageData",
    class {
      constructor(readonly data: Uint8ClampedArray<ArrayBuffer>) {}
    },
  );
  vi.stubGlobal(
    "OffscreenCanvas",
    class {
      getContext = () => ({ putImageData: (image: { data: Uint8ClampedArray<ArrayBuffer> }) => (drawn = image.data) });
    },
  );
  const all = (v: number): Float64Array => Float64Array.from({ length: 5 }, () => v);
  const lines = Array.from({ length: STROKES + 1 }, (_, k): Line => {
    const y = all(k);
    const named = { key: `${k}`, id: `${k}`, label: "", context: "", dash: [], exact: false, band: false };
    const colour = k === 0 ? "#ff0000" : "#0000ff";
    return { ...named, colour, x: Float64Array.from([0, 1, 2, 3, 4]), y, raw: y, low: all(-1), high: all(40) };
  });
  const ctx = new Proxy({}, { get: () => () => {}, set: () => true }) as CanvasRenderingContext2D;
  const frame = { left: 0, top: 0, width: 100, height: 400 };
  const scales = { x: "linear", y: "linear" } as const;
  paint(ctx, { lines, view: { x: [0, 4], y: [-1, 40] }, scales }, frame, 1, "#ffffff");
  // Red over blue, or blue over red, by more than pale colours are.
  const count = (strong: 0 | 2, weak: 0 | 2): number => {
    let n = 0;
    for (let i = 0; i < drawn.length; i += 4) if (drawn[i + strong]! - drawn[i + weak]! > 100) n++;
    return n;
  };
  expect(count(0, 2)).toBeGreaterThanOrEqual(100); // the first line
  expect(count(2, 0)).toBeGreaterThan(STROKES * 100 - 1); // the others
  expect(count(2, 0)).toBeLessThan(frame.width * frame.height * 0.3); // and not all between their least and most
  vi.unstubAllGlobals();
});
