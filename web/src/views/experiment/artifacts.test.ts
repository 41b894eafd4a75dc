import { expect, test } from "vitest";
import { latestOf, numberColumns, parsedJson } from "./artifacts";

const artifact = (name: string, version: number) => ({
  name,
  version,
  artifact_type: "file",
  size_bytes: 1,
  digest: "sha256:0",
  logged_ms: 0,
});

test("artifacts stand once a name, the newest version first", () => {
  const named = latestOf([artifact("b10", 1), artifact("b9", 1), artifact("b9", 2)]);
  expect(named.map((one) => [one.latest.name, one.versions.map((each) => each.version)])).toEqual([
    ["b9", [2, 1]],
    ["b10", [1]],
  ]);
});

test("only whole JSON is a value", () => {
  expect([parsedJson("[1]", false), parsedJson("[1]", true), parsedJson("[1", false)]).toEqual([
    [1],
    undefined,
    undefined,
  ]);
});

test("columns of numbers", () => {
  expect(
    numberColumns([
      ["a", "b", "c"],
      ["1", "x", ""],
      ["-2e3", "3", ""],
    ]),
  ).toEqual([true, false, false]);
});
