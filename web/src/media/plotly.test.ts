import { describe, expect, test } from "vitest";
import { figureOf, type Figure, type Mark } from "./figure";
import { areaPath, dotPath, linePath } from "./path";
import { readPlotly } from "./plotly";

function drawn(data: unknown[], layout: unknown = {}): Figure {
  const read = readPlotly({ data, layout });
  return figureOf(read!)!;
}

const of = <K extends Mark["kind"]>(figure: Figure, kind: K) =>
  figure.marks.filter((mark): mark is Extract<Mark, { kind: K }> => mark.kind === kind);
const base64 = (values: Float64Array | Int8Array) =>
  btoa(String.fromCharCode(...new Uint8Array(values.buffer, values.byteOffset, values.byteLength)));

describe("what is read", () => {
  test("arrays as lists and as base64, with their rows", () => {
    const bdata = base64(new Float64Array([1, 2, 3, 4, 5, 6]));
    const figure = drawn([
      { type: "scatter", x: { dtype: "i1", bdata: base64(new Int8Array([1, -2])) }, y: [3, null] },
      { type: "heatmap", z: { dtype: "f8", bdata, shape: "2, 3" } },
    ]);
    expect(of(figure, "line")[0]).toMatchObject({ x: [1, -2], y: [3, NaN] });
    expect(of(figure, "cells")[0]!.z).toEqual([
      [1, 2, 3],
      [4, 5, 6],
    ]);
  });

  test("titles without their tags, old and new", () => {
    const figure = drawn([{ y: [1] }], { title: "a<br><b>b</b>", xaxis: { title: { text: "epoch" } } });
    expect([figure.title, figure.x.title]).toEqual(["a b", "epoch"]);
  });

  test("what cannot be drawn is named, what is hidden is not", () => {
    const figure = drawn([
      { y: [1, 2] },
      { y: [1, 2], xaxis: "x2" },
      { type: "sankey" },
      { type: "pie", visible: false },
      { type: "bar", y: [1], visible: "legendonly" },
    ]);
    expect(figure.marks).toHaveLength(1);
    expect(figure.others).toEqual(["scatter", "sankey"]);
  });

  test.each([
    [null],
    [[]],
    ["text"],
    [{ columns: [], rows: [] }],
    [{ data: [] }],
    [{ data: [null, 3, "x", []] }],
    [{ data: [{ type: "heatmap", z: [[], [1]], x: "no" }], layout: { xaxis: 5 } }],
    [{ data: [{ type: "heatmap", z: { dtype: "f8", bdata: "!!", shape: "1, 1" } }] }],
    [{ data: [{ type: "bar", x: [{}], y: ["a"] }], layout: { xaxis: { range: ["x", null] } } }],
    [{ data: [{ type: "histogram", x: [null, NaN, "a"], xbins: { size: -1 }, nbinsx: -5 }] }],
    [{ data: [{ y: [1e308, -1e308] }], layout: { yaxis: { type: "log", range: [400, 500] } } }],
  ])("anything at all does no harm: %j", (json) => {
    const read = readPlotly(json);
    expect(() => read && figureOf(read)).not.toThrow();
  });
});

describe("axes", () => {
  test("are of numbers, times or categories, as the values are or as is asked for", () => {
    const figure = drawn([{ x: ["2024-01-01", "2024-01-02T12:00:00.5"], y: ["a", "b"] }]);
    expect([figure.x.kind, figure.y.kind, figure.y.categories]).toEqual(["time", "category", ["a", "b"]]);
    expect(of(figure, "line")[0]!.x[1]).toBe(new Date(2024, 0, 2, 12, 0, 0, 500).getTime());
    expect(drawn([{ x: ["1", "2"], y: [1, 2] }]).x.kind).toBe("number");
    expect(drawn([{ x: [1, 2], y: [1, 2] }], { xaxis: { type: "category" } }).x.categories).toEqual(["1", "2"]);
  });

  test("keep the range, the scale and the direction that they were given", () => {
    const { x, y } = drawn([{ y: [1, 1000] }], {
      xaxis: { autorange: "reversed" },
      yaxis: { type: "log", range: [0, 3] },
    });
    expect([x.reversed, y.reversed, y.scale]).toEqual([true, false, "log"]);
    expect(y.range).toEqual([1, 1000]);
    expect(drawn([{ y: [1, 2] }], { yaxis: { range: [5, -5] } }).y).toMatchObject({ range: [-5, 5], reversed: true });
  });
});

describe("bars", () => {
  const data = [
    { type: "bar", x: ["a", "b"], y: [1, 2] },
    { type: "bar", x: ["b", "a"], y: [3, -4] },
  ];

  test("stand beside one another, on one another, or lie", () => {
    const beside = of(drawn(data), "bars").map((mark) => mark.boxes.map((box) => box.x));
    expect(beside[0]![0]![1]).toBeCloseTo(beside[1]![1]![0]!); // the first of `a` ends where the second begins
    const stacked = of(drawn(data, { barmode: "relative" }), "bars").map((mark) => mark.boxes.map((box) => box.y));
    expect(stacked).toEqual([
      [
        [0, 1],
        [0, 2],
      ],
      [
        [2, 5],
        [0, -4],
      ],
    ]);
    const lying = drawn([{ type: "bar", orientation: "h", x: [7], y: ["a"] }]);
    expect(of(lying, "bars")[0]!.boxes[0]!.x).toEqual([0, 7]);
  });

  test("count what a histogram holds, in bins that all share", () => {
    const figure = drawn(
      [
        { type: "histogram", x: [0.5, 1.5, 1.6, 3] },
        { type: "histogram", x: [2.5, null], histnorm: "percent" },
      ].map((trace) => ({ ...trace, xbins: { size: 1 } })),
      { barmode: "overlay" },
    );
    const heights = of(figure, "bars").map((mark) => mark.boxes.map((box) => box.y[1]));
    expect(heights).toEqual([
      [1, 2, 0, 1],
      [0, 0, 100, 0],
    ]);
    expect(of(figure, "bars")[0]!.boxes[1]!.x).toEqual([1, 2]);
    const words = drawn([{ type: "histogram", x: ["a", "b", "a"] }]);
    expect(of(words, "bars")[0]!.boxes.map((box) => box.y[1])).toEqual([2, 1]);
  });
});

test("cells have their edges halfway between their middles", () => {
  const cells = of(drawn([{ type: "heatmap", x: [0, 1, 4], y: [[]], z: [[1, 2, 3]] }]), "cells");
  expect(cells).toHaveLength(1);
  expect(cells[0]!.x).toEqual([-0.5, 0.5, 2.5, 5.5]);
  expect(cells[0]!.ends).toEqual([1, 3]);
});

test("stacked lines stand on those before", () => {
  const lines = of(
    drawn([
      { stackgroup: "1", y: [1, 2] },
      { stackgroup: "1", y: [3, 4] },
    ]),
    "line",
  );
  expect(lines.map((line) => [line.y, line.fill])).toEqual([
    [[1, 2], "zero"],
    [[4, 6], "before"],
  ]);
});

test("paths have gaps where points are missing, and no point twice", () => {
  expect(linePath([0, 0, 1, 2, 3], [0, 0, 1, NaN, 3])).toBe("M0 0L1 1M3 3");
  expect(dotPath([0, 0.01, 5], [0, 0, 5])).toBe("M0 0h0M5 5h0");
  expect(areaPath([0, 1], [1, 1], { x: [0, 1], y: [0, NaN] })).toBe("M0 1L1 1L0 0Z");
});
