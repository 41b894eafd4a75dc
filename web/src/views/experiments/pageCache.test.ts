import { describe, expect, test } from "vitest";
import { PageCache, pagesOf } from "./pageCache";

describe("PageCache", () => {
  test("finds elements by their place", () => {
    const cache = new PageCache<string>(2, 3);
    cache.put(1, ["c", "d"]);
    expect([cache.at(1), cache.at(2), cache.at(3), cache.at(4)]).toEqual([undefined, "c", "d", undefined]);
    expect([...cache.entries()]).toEqual([
      [2, "c"],
      [3, "d"],
    ]);
  });

  test("drops the page that was used longest ago", () => {
    const cache = new PageCache<number>(1, 2);
    cache.put(0, [0]);
    cache.put(1, [1]);
    cache.touch([0]);
    cache.put(2, [2]);
    expect([cache.has(0), cache.has(1), cache.has(2)]).toEqual([true, false, true]);
  });
});

test.each([
  [0, 30, 1000, [0, 1]],
  [90, 120, 1000, [0, 1, 2]],
  [250, 280, 1000, [2, 3, 1]],
  [970, 1000, 1000, [9, 8]],
  [0, 0, 0, [0]],
])("the places %i to %i of %i are on the pages %j", (first, last, total, pages) =>
  expect(pagesOf(first, last, 100, total)).toEqual(pages),
);
