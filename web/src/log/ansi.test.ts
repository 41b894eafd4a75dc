import { describe, expect, test } from "vitest";
import { parseLine, plain, textOf } from "./ansi";
import { contrast, legible } from "./legible";

const spansOf = (line: string) => parseLine(line).spans.map(({ text, style }) => [text, changed(style)]);

function changed(style: object): object {
  return Object.fromEntries(Object.entries(style).filter(([key, value]) => value !== plain[key as keyof typeof plain]));
}

describe("colours", () => {
  test("text without escapes is one span", () => {
    expect(spansOf("loss 0.5\tdone")).toEqual([["loss 0.5\tdone", {}]]);
    expect(spansOf("")).toEqual([]);
  });

  test("weight and the sixteen colours", () => {
    expect(spansOf("\x1b[1;31mbad\x1b[0m ok \x1b[92;44mbright\x1b[m")).toEqual([
      ["bad", { bold: true, fg: 1 }],
      [" ok ", {}],
      ["bright", { fg: 10, bg: 4 }],
    ]);
  });

  test.each([
    ["\x1b[38;5;208mx", { fg: [255, 135, 0] }],
    ["\x1b[38;5;9mx", { fg: 9 }],
    ["\x1b[38;5;244mx", { fg: [128, 128, 128] }],
    ["\x1b[48;2;1;2;300mx", { bg: [1, 2, 255] }],
    ["\x1b[38:5:208mx", { fg: [255, 135, 0] }],
    ["\x1b[1;38;5;21;4mx", { bold: true, underline: true, fg: [0, 0, 255] }],
    ["\x1b[31m\x1b[39mx", {}],
    ["\x1b[38mx", {}],
  ])("%j", (line, style) => expect(spansOf(line)).toEqual([["x", style]]));

  test("a style goes on in the next line", () => {
    const first = parseLine("\x1b[33mone");
    expect(parseLine("two\x1b[0m", first.style).spans[0]?.style.fg).toBe(3);
  });
});

describe("what is written over", () => {
  test.each([
    ["10 %\r50 %\r100 %", "100 %"],
    ["long text\rshort", "shorttext"],
    ["long text\r\x1b[Kshort", "short"],
    ["long text\x1b[2K\rshort", "short"],
    ["abc\b\bX", "aXc"],
    ["ab\x1b[3Cc", "ab   c"],
    ["abcdef\x1b[2Gx", "axcdef"],
    ["progress\r", "progress"],
    ["abcdef\x1b[3D\x1b[1K", "   def"],
  ])("%j shows %j", (line, text) => expect(textOf(line)).toBe(text));

  test("the colours of what is left are kept", () => {
    expect(spansOf("\x1b[32mabcd\x1b[0m\r\x1b[31mxy")).toEqual([
      ["xy", { fg: 1 }],
      ["cd", { fg: 2 }],
    ]);
  });
});

describe("nothing else comes through", () => {
  test.each([
    ["\x1b]0;title\x07text", "text"],
    ["\x1b]8;;https://example.org\x1b\\link\x1b]8;;\x1b\\", "link"],
    ["\x1b[?25lhidden cursor\x1b[?25h", "hidden cursor"],
    ["\x1b[", ""],
    ["torn \x1b", "torn "],
    ["a\x00b\x07c", "abc"],
    ["\x1b(Bcharset", "charset"],
    ["<script>alert(1)</script>", "<script>alert(1)</script>"],
  ])("%j shows %j", (line, text) => expect(textOf(line)).toBe(text));

  test("a column far away does not fill the memory", () => {
    expect(textOf("\x1b[999999999Gx").length).toBe(100_001);
  });
});

test("colours are made legible on light and dark", () => {
  const white = [255, 255, 255] as const;
  const night = [21, 25, 31] as const;
  for (const colour of [
    [255, 255, 0],
    [0, 0, 128],
    [128, 128, 128],
    [255, 135, 0],
  ] as const) {
    expect(contrast(legible(colour, white), white)).toBeGreaterThanOrEqual(4.5);
    expect(contrast(legible(colour, night), night)).toBeGreaterThanOrEqual(4.5);
  }
  expect(legible([0, 0, 0], white)).toEqual([0, 0, 0]);
});
