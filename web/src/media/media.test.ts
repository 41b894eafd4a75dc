import { describe, expect, test } from "vitest";
import type { MediaItem, MediaKey } from "../wire/media";
import { fit } from "./fit";
import { heatColour } from "./heat";
import { columnAt, columnsOf, greatestShare, rebin, spanOf } from "./histogram";
import { itemAt, lastUpTo, rowsOf, unionOf } from "./rows";
import { cellText, columnWidths, isNumber, nextOrder, pagesOf, pictureOf } from "./table";

const key = (name: string, kind: MediaKey["kind"] = "image", context = "train"): MediaKey => ({
  name,
  context,
  kind,
  count: 1,
  first_step: 0,
  last_step: 9,
});

describe("rows", () => {
  const found = [
    { id: "exp_001", keys: [key("w/10", "histogram"), key("w/2", "histogram"), key("w/img"), key("story", "text")] },
    { id: "exp_002", keys: [key("w/img"), key("w/img", "image", "val")] },
  ];

  test("one for each name and context, by section, kind and name", () => {
    const sections = rowsOf(found);
    expect(sections.map((section) => section.name)).toEqual(["Media", "w"]);
    expect(sections[1]!.items.map((row) => [row.name, row.context])).toEqual([
      ["w/img", "train"],
      ["w/img", "val"],
      ["w/2", "train"],
      ["w/10", "train"],
    ]);
    expect(sections[1]!.items[0]!.of.map((one) => one.id)).toEqual(["exp_001", "exp_002"]);
  });

  test("are found by every word of name, context and kind", () => {
    const names = (search: string) => rowsOf(found, search).flatMap((section) => section.items.map((row) => row.name));
    expect(names("IMG val")).toEqual(["w/img"]);
    expect(names("histogram")).toEqual(["w/2", "w/10"]);
    expect(names("nothing")).toEqual([]);
  });

  test("an item stands until the next one", () => {
    const items = [{ step: 0 }, { step: 10 }, { step: 20 }] as MediaItem[];
    expect(itemAt(items, 10)!.step).toBe(10);
    expect(itemAt(items, 19)!.step).toBe(10);
    expect(itemAt(items, 99)!.step).toBe(20);
    expect(itemAt(items, -1)).toBeNull();
    expect(lastUpTo([], 5)).toBe(-1);
    expect(unionOf([[3, 10], [], [2, 10]])).toEqual([2, 3, 10]);
  });
});

describe("fit", () => {
  const room = { width: 300, height: 200 };

  test("small pictures grow by a whole factor, with square pixels", () => {
    expect(fit(28, 28, room)).toEqual({ width: 196, height: 196, pixelated: true });
    expect(fit(1, 1, room)).toEqual({ width: 32, height: 32, pixelated: true });
    expect(fit(160, 120, room)).toEqual({ width: 160, height: 120, pixelated: false });
  });

  test("large ones shrink and keep their form", () => {
    expect(fit(600, 200, room)).toEqual({ width: 300, height: 100, pixelated: false });
    expect(fit(10_000, 1, room)).toEqual({ width: 300, height: 1, pixelated: false });
  });

  test("nothing has no size", () => expect(fit(0, 5, room).width).toBe(0));
});

describe("histograms", () => {
  test("the span is that of all, and never empty", () => {
    const all = [
      { counts: [1], edges: [0, 1] },
      { counts: [], edges: [] },
      { counts: [2, 3], edges: [-4, 0, 0.5] },
    ];
    expect(spanOf(all)).toEqual([-4, 1]);
    expect(spanOf([{ counts: [1], edges: [2, 2] }])).toEqual([1, 3]);
    expect(spanOf([{ counts: [1], edges: [0, 0] }])).toEqual([-0.5, 0.5]);
    expect(spanOf([])).toBeNull();
  });

  test("equal bins stay as they are", () => {
    expect([...rebin({ counts: [1, 2, 3], edges: [0, 1, 2, 3] }, [0, 3], 3)]).toEqual([1, 2, 3]);
  });

  test("wider bins are spread evenly, narrower ones added up", () => {
    expect([...rebin({ counts: [4], edges: [0, 2] }, [0, 4], 4)]).toEqual([2, 2, 0, 0]);
    expect([...rebin({ counts: [1, 2, 3, 4], edges: [0, 1, 2, 3, 4] }, [0, 4], 2)]).toEqual([3, 7]);
    expect([...rebin({ counts: [3], edges: [0.5, 2] }, [0, 4], 4)]).toEqual([1, 2, 0, 0]);
  });

  test("a bin without width, also at the upper end, is in one", () => {
    expect([...rebin({ counts: [5, 7], edges: [0, 0, 2] }, [0, 2], 2)]).toEqual([8.5, 3.5]);
    expect([...rebin({ counts: [5], edges: [2, 2] }, [0, 2], 2)]).toEqual([0, 5]);
  });

  test("no value is lost, however the bins lie", () => {
    let seed = 7;
    const random = () => (seed = (seed * 16_807) % 2_147_483_647) / 2_147_483_647;
    for (let round = 0; round < 200; round++) {
      const edges = Array.from({ length: 2 + Math.floor(random() * 40) }, () => random() * 10 - 5);
      edges.sort((a, b) => a - b);
      const counts = edges.slice(1).map(() => Math.floor(random() * 9));
      const sum = counts.reduce((a, b) => a + b, 0);
      const out = rebin({ counts, edges }, [-5.1, 5.2], 1 + Math.floor(random() * 100));
      expect(out.reduce((a, b) => a + b, 0)).toBeCloseTo(sum, 6);
      expect(Math.min(...out)).toBeGreaterThanOrEqual(0);
    }
  });

  const items = [0, 10, 20, 40, 50].map((step) => ({ step, counts: [step + 1, 1], edges: [0, 1, 2] }));

  test("a column lasts until the next, the last as long as most do", () => {
    const columns = columnsOf(items, [0, 2], 2, 100);
    expect(columns.map(({ from, to }) => [from, to])).toEqual([
      [0, 10],
      [10, 20],
      [20, 40],
      [40, 50],
      [50, 60],
    ]);
    expect(columnAt(columns, 39)!.first).toBe(20);
    expect(columnAt(columns, 60)).toBeNull();
    expect(columnsOf(items.slice(0, 1), [0, 2], 2, 9)[0]!.to).toBe(1);
  });

  test("more columns than room are added up", () => {
    const columns = columnsOf(items, [0, 2], 2, 3);
    expect(columns.map(({ first, last, total }) => [first, last, total])).toEqual([
      [0, 10, 14],
      [20, 40, 64],
      [50, 50, 52],
    ]);
    expect(greatestShare([columns])).toBeCloseTo(51 / 52);
    expect(greatestShare([])).toBe(0);
  });

  test("the colours go from the ground to the ink", () => {
    expect(heatColour(0, 1, "light")).toEqual([255, 255, 255]);
    expect(heatColour(2, 1, "light")).toEqual([24, 42, 120]);
    expect(heatColour(1, 0, "dark")).toEqual([21, 25, 31]);
  });
});

describe("tables", () => {
  test("cells say what they hold", () => {
    expect(
      [null, true, 0.1234567891, -12_345_678, "<b>", { number: "nan" }, { number: "-inf" }].map((c) => cellText(c)),
    ).toEqual(["", "true", "0.123457", "\u221212345678", "<b>", "NaN", "\u2212∞"]);
    const picture = { image: "sha256:0", width: 2, height: 3 };
    expect([pictureOf(picture), pictureOf("x"), pictureOf(null)]).toEqual([picture, null, null]);
    expect([1, { number: "nan" }, "1", null].map((c) => isNumber(c))).toEqual([true, true, false, false]);
  });

  test("columns are as wide as their texts, within bounds", () => {
    expect(columnWidths(["a", "b", "long name"], [[12_345_678, "x", "x".repeat(99)]])).toEqual([11, 17, 51]);
  });

  test("a column is sorted up, down, and not", () => {
    let order: { sort: number | null; descending: boolean } = { sort: null, descending: false };
    const seen = [2, 2, 2, 1].map((column) => (order = nextOrder(order, column)));
    expect(seen.map((one) => [one.sort, one.descending])).toEqual([
      [2, false],
      [2, true],
      [null, false],
      [1, false],
    ]);
  });

  test("pages that are seen", () => {
    expect(pagesOf(0, 100, 100)).toEqual([0]);
    expect(pagesOf(99, 201, 100)).toEqual([0, 1, 2]);
    expect(pagesOf(0, 0, 100)).toEqual([]);
  });
});
