import { describe, expect, test } from "vitest";
import { parseMarkdown, safeHref, type Block } from "./tree";

const text = (value: string) => ({ kind: "text", text: value });

test("paragraphs, emphasis, code and links", () => {
  expect(parseMarkdown("Looks **good**, *very*; `lr=0.1` [paper](https://example.org/a)")).toEqual([
    {
      kind: "paragraph",
      children: [
        text("Looks "),
        { kind: "strong", children: [text("good")] },
        text(", "),
        { kind: "em", children: [text("very")] },
        text("; "),
        { kind: "code", text: "lr=0.1" },
        text(" "),
        { kind: "link", href: "https://example.org/a", children: [text("paper")] },
      ],
    },
  ]);
});

test("headings, rules, code and quotes", () => {
  const kinds = parseMarkdown("# A\n\n---\n\n```py\nx = 1 < 2\n```\n\n> said").map((block) => block.kind);
  expect(kinds).toEqual(["heading", "rule", "code", "quote"]);
  expect(parseMarkdown("```py\nx = 1 < 2 && y\n```")[0]).toEqual({
    kind: "code",
    language: "py",
    text: "x = 1 < 2 && y",
  });
});

test("lists in lists, with boxes", () => {
  const [list] = parseMarkdown("3. one\n   - [x] done\n   - [ ] open") as [Extract<Block, { kind: "list" }>];
  expect([list.ordered, list.start]).toEqual([true, 3]);
  const inner = list.items[0]?.children[1] as Extract<Block, { kind: "list" }>;
  expect(inner.items.map((item) => item.checked)).toEqual([true, false]);
  expect(inner.items[0]?.children).toEqual([{ kind: "paragraph", children: [text("done")] }]);
});

test("tables with their alignment", () => {
  const [table] = parseMarkdown("| a | b |\n|---|--:|\n| 1 | **2** |") as [Extract<Block, { kind: "table" }>];
  expect(table.align).toEqual([null, "right"]);
  expect(table.rows).toEqual([[[text("1")], [{ kind: "strong", children: [text("2")] }]]]);
});

test("a line end breaks the line, as in notes it is meant to", () => {
  expect(parseMarkdown("a\nb")[0]).toEqual({ kind: "paragraph", children: [text("a"), { kind: "break" }, text("b")] });
});

describe("nothing active comes through", () => {
  test("raw HTML is text", () => {
    expect(parseMarkdown("<script>alert(1)</script>")).toEqual([
      { kind: "paragraph", children: [text("<script>alert(1)</script>")] },
    ]);
    const [one] = parseMarkdown("a <img src=x onerror=alert(1)> b") as [Extract<Block, { kind: "paragraph" }>];
    expect(one.children.every((part) => part.kind === "text")).toBe(true);
  });

  test.each([
    "javascript:alert(1)",
    " JavaScript:alert(1)",
    "java\nscript:alert(1)",
    "data:text/html,x",
    "vbscript:x",
    "//",
  ])("%j is no link", (href) => expect(safeHref(href)).toBeNull());

  test("a link to a script stays as it was typed", () => {
    expect(parseMarkdown("[x](javascript:alert(1))")[0]).toEqual({
      kind: "paragraph",
      children: [text("[x](javascript:alert(1))")],
    });
  });

  test("a picture is a link", () => {
    expect(JSON.stringify(parseMarkdown("![plot](https://example.org/a.png)"))).toContain('"kind":"link"');
  });

  test("a thousand quotes do not overflow", () => {
    expect(parseMarkdown(">".repeat(1000) + " x")).toHaveLength(1);
  });
});

test("entities are the characters they stand for", () => {
  expect(parseMarkdown("a &amp; b &lt;i&gt;")[0]).toEqual({ kind: "paragraph", children: [text("a & b <i>")] });
});
