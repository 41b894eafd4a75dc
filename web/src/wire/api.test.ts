import { expect, test } from "vitest";
import { apiUrl } from "./api";

test("what is not there is left out; lists are joined", () => {
  expect(apiUrl("/points", { metric: "loss", ids: ["a", "b"], from: null, to: undefined, sort: [] })).toBe(
    "/api/v1/points?metric=loss&ids=a%2Cb",
  );
});

test.each([[["a,b"]], [["[a]"]]])("the list %j travels as JSON", (columns) => {
  const sent = new URL(apiUrl("/x", { columns }), "http://x").searchParams.get("columns");
  expect(JSON.parse(sent ?? "")).toEqual(columns);
});
