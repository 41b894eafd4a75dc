import { describe, expect, test } from "vitest";
import { rowsOf, textOf } from "./tree";

const config = {
  model: { name: "mlp", layers: [64, 10], blocks: [{ width: 3 }] },
  training: { lr: 0.01, "a.b": null },
  empty: {},
};

describe("rowsOf", () => {
  test("lists of plain values are one row, lists of mappings are branches", () => {
    expect(rowsOf(config, new Set()).map((row) => [row.path, row.depth, row.size])).toEqual([
      ["model", 0, 3],
      ["model.name", 1, null],
      ["model.layers", 1, null],
      ["model.blocks", 1, 1],
      ["model.blocks.0", 2, 1],
      ["model.blocks.0.width", 3, null],
      ["training", 0, 2],
      ["training.lr", 1, null],
      ["training.a.b", 1, null],
      ["empty", 0, 0],
    ]);
  });

  test("what is closed hides what is below", () => {
    expect(rowsOf(config, new Set(["model"])).map((row) => row.path)).toEqual([
      "model",
      "training",
      "training.lr",
      "training.a.b",
      "empty",
    ]);
  });

  test.each([
    ["lr", ["training", "training.lr"]],
    ["MODEL mlp", ["model", "model.name"]],
    ["0.01", ["training", "training.lr"]],
    ["width", ["model", "model.blocks", "model.blocks.0", "model.blocks.0.width"]],
    ["nothing", []],
  ])("a search for %j opens what holds it", (search, paths) => {
    expect(rowsOf(config, new Set(["model", "training"]), search).map((row) => row.path)).toEqual(paths);
  });

  test("no mapping, no rows", () => expect(rowsOf(3, new Set())).toEqual([]));
});

test("values are written as in a config", () => {
  expect([textOf("a"), textOf(null), textOf([1, "x"]), textOf(true), textOf(undefined)]).toEqual([
    "a",
    "null",
    '[1, "x"]',
    "true",
    "",
  ]);
});
