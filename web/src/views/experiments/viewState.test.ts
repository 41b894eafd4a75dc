import { describe, expect, test } from "vitest";
import { cycleSort, emptyView, moved, parseView, viewQuery, type ViewState } from "./viewState";

function through(view: ViewState): ViewState {
  const params = new URLSearchParams();
  for (const [key, value] of Object.entries(viewQuery(view))) if (value !== null) params.set(key, value);
  return parseView(new URLSearchParams(params.toString()));
}

describe("a view and its address", () => {
  test("nothing is said of the view that is shown at first", () => {
    expect(Object.values(viewQuery(emptyView)).every((value) => value === null)).toBe(true);
    expect(parseView(new URLSearchParams())).toEqual(emptyView);
  });

  test("all of a view comes back", () => {
    const view: ViewState = {
      query: "config.lr < 1e-2 and 'a,b' in tags",
      statuses: ["running", "crashed"],
      tags: ["a,b", "100%", "ünï"],
      project: "vision & text",
      archived: true,
      sorts: [
        { id: "metrics.loss,x", descending: true },
        { id: "created_at", descending: false },
      ],
      columns: [
        { id: "name", width: 240, pinned: true },
        { id: "config.a~b!c,d%2C", width: null, pinned: false },
      ],
      groups: ["config.model"],
      charts: true,
      selected: ["exp_001", "exp_002"],
    };
    expect(through(view)).toEqual(view);
  });

  test("no columns at all is not the same as the usual ones", () => {
    expect(through({ ...emptyView, columns: [] }).columns).toEqual([]);
  });

  test("what cannot be read is left out, widths stay in bounds, a column stands once", () => {
    const view = parseView(new URLSearchParams("columns=a~5,~9,b~99999,a,c~x&sort=,-loss"));
    expect(view.columns).toEqual([
      { id: "a", width: 48, pinned: false },
      { id: "b", width: 1200, pinned: false },
    ]);
    expect(view.sorts).toEqual([{ id: "loss", descending: true }]);
  });

  test("a large selection is not in the address", () => {
    const selected = Array.from({ length: 101 }, (_, index) => `exp_${index}`);
    expect(viewQuery({ ...emptyView, selected }).selected).toBeNull();
  });
});

describe("cycleSort", () => {
  test("goes the first way, the other way, off", () => {
    const one = cycleSort([], "loss", false, false);
    const two = cycleSort(one, "loss", false, false);
    expect(one).toEqual([{ id: "loss", descending: false }]);
    expect(two).toEqual([{ id: "loss", descending: true }]);
    expect(cycleSort(two, "loss", false, false)).toEqual([]);
  });

  test("one click takes the place of other columns; with shift it joins them, in its place", () => {
    const sorts = cycleSort(cycleSort([], "a", false, false), "b", true, true);
    expect(sorts.map((sort) => sort.id)).toEqual(["a", "b"]);
    expect(cycleSort(sorts, "a", false, true)).toEqual([
      { id: "a", descending: true },
      { id: "b", descending: true },
    ]);
    expect(cycleSort(sorts, "c", false, false)).toEqual([{ id: "c", descending: false }]);
  });
});

test("moved keeps the others in order", () => {
  expect(moved(["a", "b", "c", "d"], 0, 2)).toEqual(["b", "c", "a", "d"]);
  expect(moved(["a", "b", "c"], 2, 0)).toEqual(["c", "a", "b"]);
  expect(moved(["a", "b"], 0, 9)).toEqual(["b", "a"]);
});
