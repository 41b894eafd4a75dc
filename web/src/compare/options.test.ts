import { describe, expect, test } from "vitest";
import { firstAxes, firstMetric, groupsOf, labelFor, optionsOf, quantityOf } from "./options";

const found = {
  params: [
    { key: "data.name", differs: false },
    { key: "training.seed", differs: true },
    { key: "training.lr", differs: true },
  ],
  metrics: [
    { name: "accuracy", differs: true },
    { name: "loss", differs: true },
  ],
};
const options = optionsOf(found, ["name", "metrics.loss@val", "metrics.other@val", "config.training.lr"]);

describe("options", () => {
  test("params that differ come first; contexts and summaries of metrics are there", () => {
    expect(options.map((one) => one.id)).toEqual([
      "config.training.seed",
      "config.training.lr",
      "config.data.name",
      "metrics.accuracy",
      "metrics.loss",
      "metrics.loss@val",
      "metrics.accuracy.min",
      "metrics.loss.min",
      "metrics.loss@val.min",
      "metrics.accuracy.max",
      "metrics.loss.max",
      "metrics.loss@val.max",
      "duration_s",
    ]);
    expect(labelFor(options, "metrics.loss.min")).toBe("min loss");
    expect(labelFor(options, "metrics.gone")).toBe("gone");
  });

  test("one begins with what differs and a loss, the seed last", () => {
    expect(firstMetric(options)).toBe("metrics.loss");
    expect(firstAxes(options)).toEqual(["config.training.lr", "config.training.seed", "metrics.loss"]);
    expect(firstAxes(optionsOf({ params: [], metrics: [] }, []))).toEqual([]);
  });
});

test("what has no place on an axis is none", () => {
  expect(quantityOf("a", "number", [1, "NaN", null]).values).toEqual([1, null, null]);
  expect(quantityOf("a", "text", ["NaN", [64, 10], null]).values).toEqual(["NaN", "[64, 10]", null]);
});

test("groups of numbers are in the order of the numbers", () => {
  expect(groupsOf({ id: "lr", values: [0.1, 1e-5, null, 0.1] })).toEqual({
    of: ["0.1", "1e−5", "none", "0.1"],
    order: ["1e−5", "0.1", "none"],
  });
});
