import { describe, expect, test } from "vitest";
import { addressOf, comparePath, experimentPath, routeOf } from "./routes";

describe("routeOf", () => {
  test("the root shows the experiments, with its query", () => {
    const route = routeOf("/?q=loss%20%3C%201&charts=1");
    expect(route.name).toBe("experiments");
    expect(route.query.get("q")).toBe("loss < 1");
  });

  test("an experiment has an id and a tab", () => {
    expect(routeOf("/experiments/exp_001").params).toEqual({ id: "exp_001", tab: "overview" });
    expect(routeOf("/experiments/exp_001/logs").params).toEqual({ id: "exp_001", tab: "logs" });
  });

  test.each(["/experiments", "/experiments/a/nothing", "/experiments/a/logs/b", "/compare/x", "/else"])(
    "%s is no page",
    (address) => expect(routeOf(address).name).toBe("missing"),
  );

  test("an id that cannot be decoded stays as it is", () => {
    expect(routeOf("/experiments/%E0%A4%A").params.id).toBe("%E0%A4%A");
  });
});

test("addresses lead back to their route", () => {
  expect(routeOf(experimentPath("a/b", "charts")).params).toEqual({ id: "a/b", tab: "charts" });
  expect(routeOf(comparePath(["exp_001", "exp_002"])).query.get("ids")).toBe("exp_001,exp_002");
  expect(addressOf("/", { q: "", sort: "-loss" })).toBe("/?sort=-loss");
});
