import { expect, test } from "vitest";
import type { ColumnInfo } from "../../wire/types";
import { canGroup, columnsIn, labelOf, layOut, sparkOf, summaryOf, usualColumns } from "./columns";

const infos: ColumnInfo[] = [
  { id: "name", kind: "text", group: "field", count: 9 },
  { id: "config.lr", kind: "number", group: "config", count: 9 },
  { id: "metrics.fid", kind: "number", group: "metrics", count: 9 },
  { id: "metrics.val_loss", kind: "number", group: "metrics", count: 8 },
];
const byId = new Map(infos.map((info) => [info.id, info]));

test.each([
  ["created_at", "Created"],
  ["config.training.lr", "training.lr"],
  ["metrics.loss", "loss"],
  ["metrics.loss@val.min", "loss@val min"],
  ["metrics.mean", "mean"],
  ["spark.loss", "loss"],
  ["other", "other"],
])("%s is called %s", (id, label) => {
  expect(labelOf(id)).toBe(label);
});

test("the summary of a metric", () => {
  expect([summaryOf("metrics.loss"), summaryOf("metrics.a.b.max"), summaryOf("config.max")]).toEqual([
    null,
    "max",
    null,
  ]);
});

test("a sparkline's metric and context", () => {
  expect(sparkOf("spark.val/loss@val")).toEqual({ metric: "val/loss", context: "val" });
  expect(sparkOf("spark.loss")).toEqual({ metric: "loss", context: "" });
});

test("the usual columns: losses first, the name pinned", () => {
  const usual = usualColumns(infos);
  expect(usual.map((column) => column.id).slice(5)).toEqual([
    "spark.val_loss",
    "metrics.val_loss",
    "metrics.fid",
    "config.lr",
  ]);
  expect(usualColumns([]).map((column) => column.id)).toEqual(usual.slice(0, 5).map((column) => column.id));
  expect(usual.filter((column) => column.pinned).map((column) => column.id)).toEqual(["name"]);
});

test("pinned columns come first; each part is laid out from its own edge", () => {
  const shown = ["config.lr", "name", "metrics.fid"].map((id) => ({ id, width: 100, pinned: id === "name" }));
  expect(layOut(shown, byId).map(({ id, left }) => [id, left])).toEqual([
    ["name", 0],
    ["config.lr", 0],
    ["metrics.fid", 100],
  ]);
});

test("only columns that are seen are drawn, with a neighbour each way", () => {
  const shown = Array.from({ length: 100 }, (_, index) => ({ id: `config.p${index}`, width: 100, pinned: false }));
  const columns = layOut(shown, byId);
  expect(columnsIn(columns, 1050, 300).map((column) => column.id)).toEqual(
    [9, 10, 11, 12, 13, 14].map((index) => `config.p${index}`),
  );
  expect(columnsIn(columns, 0, 150)).toHaveLength(3);
  expect(columnsIn([], 0, 100)).toEqual([]);
});

test("grouping by fields and params alone", () => {
  expect(["config.lr", "status", "metrics.loss", "created_at"].map(canGroup)).toEqual([true, true, false, false]);
});
