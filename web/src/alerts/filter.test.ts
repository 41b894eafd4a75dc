import { expect, test } from "vitest";
import type { Alert } from "../wire/types";
import { badge, byDay, filtered, keyOf, levelOf } from "./filter";

const alert = (about: Partial<Alert>): Alert => ({
  experiment_id: "exp_001",
  name: "vae",
  position: 10,
  title: "loss is NaN",
  text: "",
  level: "error",
  time_ms: 0,
  rule: null,
  ...about,
});
const alerts = [
  alert({}),
  alert({ level: "warning", title: "slow", text: "a batch took 9 s" }),
  alert({ experiment_id: "exp_002", name: "gan", level: "info", rule: "diverged", position: -1 }),
];
const none = { level: null, experiment: null, text: "" };

test("all words must fit, in title, text, rule or experiment", () => {
  const found = (text: string) => filtered(alerts, { ...none, text }).shown.length;
  expect(["", "NaN vae", "9 s", "diverged", "EXP_002 nan", "nothing", "  "].map(found)).toEqual([3, 1, 1, 1, 1, 0, 3]);
});

test("levels are counted whether they are shown or not", () => {
  const { shown, counts } = filtered(alerts, { ...none, level: "info" });
  expect(shown.map((one) => one.name)).toEqual(["gan"]);
  expect(counts).toEqual({ error: 1, warning: 1, info: 1 });
  expect(filtered(alerts, { ...none, experiment: "exp_002" }).counts).toEqual({ error: 0, warning: 0, info: 1 });
});

test("a level of the address is one of three", () => {
  expect([levelOf("error"), levelOf("loud"), levelOf(null)]).toEqual(["error", null, null]);
});

test("days follow each other", () => {
  const days = byDay(
    [5, 4, 1].map((time_ms) => alert({ time_ms })),
    (ms) => (ms > 3 ? "b" : "a"),
  );
  expect(days.map((day) => [day.day, day.alerts.length])).toEqual([
    ["b", 2],
    ["a", 1],
  ]);
});

test("keys differ where alerts do", () => {
  const all = [...alerts.slice(1), alert({ position: -1, rule: "other", experiment_id: "exp_002" })];
  expect(new Set(all.map(keyOf)).size).toBe(3);
});

test("a badge stays short", () => expect([badge(1), badge(99), badge(100)]).toEqual(["1", "99", "99+"]));
