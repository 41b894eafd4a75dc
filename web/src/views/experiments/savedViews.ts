/** Views kept by name in this browser, for one folder each. */
export interface SavedView {
  name: string;
  /** The query of its address. */
  query: string;
}

type Kept = Pick<Storage, "getItem" | "setItem">;

const keyOf = (root: string) => `frameworm.views:${root}`;

export function savedViews(storage: Kept, root: string): SavedView[] {
  try {
    const read: unknown = JSON.parse(storage.getItem(keyOf(root)) ?? "[]");
    return Array.isArray(read) ? read.filter(isView) : [];
  } catch {
    return [];
  }
}

/** Keeps a view in the place of one of the same name. */
export function saveView(storage: Kept, root: string, view: SavedView): SavedView[] {
  const others = savedViews(storage, root).filter((other) => other.name !== view.name);
  return keep(storage, root, [...others, view]);
}

export function forgetView(storage: Kept, root: string, name: string): SavedView[] {
  return keep(
    storage,
    root,
    savedViews(storage, root).filter((view) => view.name !== name),
  );
}

function keep(storage: Kept, root: string, views: SavedView[]): SavedView[] {
  storage.setItem(keyOf(root), JSON.stringify(views));
  return views;
}

function isView(value: unknown): value is SavedView {
  const view = value as Partial<SavedView> | null;
  return typeof view?.name === "string" && typeof view.query === "string";
}
