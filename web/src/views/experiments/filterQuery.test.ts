import { expect, test } from "vitest";
import { filterQuery, plainWords, typedQuery } from "./filterQuery";

const none = { query: "", statuses: [], tags: [] };

test("nothing asked is no query", () => expect(filterQuery(none)).toBe(""));

test("a query alone stays as it is typed, so that an error's place is right", () => {
  expect(filterQuery({ ...none, query: "config.lr < 1" })).toBe("config.lr < 1");
});

test("filters stand beside the query", () => {
  expect(filterQuery({ query: "a == 1 or b == 2", statuses: ["running"], tags: ['say "x"'] })).toBe(
    '(a == 1 or b == 2) and status in ["running"] and "say \\"x\\"" in tags',
  );
});

test("words alone are looked for", () => {
  expect(plainWords("vae large")).toEqual(["vae", "large"]);
  expect(typedQuery("vae")).toBe('("vae" in name or "vae" in experiment_id or "vae" in tags or "vae" in notes)');
});

test.each(["status == 'x'", "a and b", "config.lr", "not x", "(x"])("%s is not words alone", (text) =>
  expect(plainWords(text)).toBeNull(),
);
