import { expect, test } from "vitest";
import { forgetView, savedViews, saveView } from "./savedViews";

function storage(): Pick<Storage, "getItem" | "setItem"> {
  const kept = new Map<string, string>();
  return { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => void kept.set(key, value) };
}

test("views are kept by name, each folder its own", () => {
  const kept = storage();
  saveView(kept, "/a", { name: "best", query: "?sort=loss" });
  saveView(kept, "/a", { name: "mine", query: "?tags=me" });
  saveView(kept, "/a", { name: "best", query: "?sort=acc" });
  expect(savedViews(kept, "/a")).toEqual([
    { name: "mine", query: "?tags=me" },
    { name: "best", query: "?sort=acc" },
  ]);
  expect(savedViews(kept, "/b")).toEqual([]);
  expect(forgetView(kept, "/a", "mine").map((view) => view.name)).toEqual(["best"]);
});

test.each(["{", "3", '[1, {"name": "a"}, null]'])("what cannot be read (%s) is no view", (text) => {
  expect(savedViews({ getItem: () => text, setItem: () => undefined }, "/a")).toEqual([]);
});
