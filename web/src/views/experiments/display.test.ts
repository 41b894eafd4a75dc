import { expect, test } from "vitest";
import type { Row } from "../../wire/types";
import { display, fieldOf, progress } from "./display";

const row: Row = {
  experiment_id: "exp_001",
  uid: "u",
  name: "a",
  status: "running",
  project: null,
  created_ms: 1_000_000,
  updated_ms: 1_000_000,
  duration_s: null,
  damage: null,
  tags: [],
  progress: { step: 12345, epoch: 3 },
  values: [],
};
const now = () => 1_000_000 + 180_000;

test.each([
  [{ id: "created_at", kind: "time" as const }, row.created_ms, "3 min ago"],
  [{ id: "duration_s", kind: "duration" as const }, null, "3m 00s"],
  [{ id: "duration_s", kind: "duration" as const }, 7980, "2h 13m"],
  [{ id: "progress", kind: "progress" as const }, undefined, "epoch 3 · step 12,345"],
  [{ id: "metrics.loss", kind: "number" as const }, 0.5, "0.5000"],
  [{ id: "config.lr", kind: "number" as const }, 0.5, "0.5"],
  [{ id: "git_hash", kind: "text" as const }, "0123456789abcdef", "01234567"],
  [{ id: "config.a", kind: "mixed" as const }, null, ""],
])("the cell of %j says %s as %s", (column, value, text) => {
  expect(display(row, column, value, now).text).toBe(text);
});

test("an experiment that ended without a duration has none", () => {
  const ended: Row = { ...row, status: "crashed" };
  expect(display(ended, { id: "duration_s", kind: "duration" }, null, now).text).toBe("");
});

test("fields stand in the row, other columns do not", () => {
  expect([fieldOf(row, "experiment_id"), fieldOf(row, "config.lr")]).toEqual(["exp_001", undefined]);
});

test("progress with one part", () => {
  expect(progress({ ...row, progress: { step: 5, epoch: null } })).toBe("step 5");
  expect(progress({ ...row, progress: null })).toBe("");
});
