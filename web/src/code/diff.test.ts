import { expect, test } from "vitest";
import { parseDiff, visible } from "./diff";

const change = `diff --git a/model.py b/model.py
index 7e09dd3..d41b998 100644
--- a/model.py
+++ b/model.py
@@ -7,4 +7,4 @@ from torch import nn
 def make(hidden):
     return nn.Sequential(
-        nn.ReLU(),
+        nn.GELU(),
     )
`;

test("lines have their kind, their numbers and what changed in them", () => {
  const [file] = parseDiff(change);
  expect(file).toMatchObject({ path: "model.py", oldPath: null, kind: "changed", added: 1, removed: 1, binary: false });
  const lines = file!.hunks[0]!.lines;
  expect(lines.map((line) => [line.kind, line.old, line.new])).toEqual([
    ["same", 7, 7],
    ["same", 8, 8],
    ["removed", 9, null],
    ["added", null, 9],
    ["same", 10, 10],
  ]);
  expect(lines[2]!.text.slice(...lines[2]!.changed!)).toBe("ReLU");
  expect(lines[3]!.text.slice(...lines[3]!.changed!)).toBe("GELU");
  expect(file!.hunks[0]!.header).toBe("from torch import nn");
});

test("added, removed, renamed and binary files", () => {
  const files = parseDiff(`diff --git a/new.yaml b/new.yaml
new file mode 100644
--- /dev/null
+++ b/new.yaml
@@ -0,0 +1 @@
+epochs: 15
\\ No newline at end of file
diff --git a/old.py b/old.py
deleted file mode 100644
--- a/old.py
+++ /dev/null
@@ -1,2 +0,0 @@
-x = 1
---- not a head
diff --git a/a b.txt b/c d.txt
similarity index 100%
rename from a b.txt
rename to c d.txt
diff --git a/w.pt b/w.pt
Binary files a/w.pt and b/w.pt differ
`);
  expect(
    files.map(({ path, oldPath, kind, added, removed, binary }) => [path, oldPath, kind, added, removed, binary]),
  ).toEqual([
    ["new.yaml", null, "added", 1, 0, false],
    ["old.py", null, "removed", 0, 2, false],
    ["c d.txt", "a b.txt", "renamed", 0, 0, false],
    ["w.pt", null, "changed", 0, 0, true],
  ]);
  expect(files[0]!.hunks[0]!.lines[1]).toMatchObject({ kind: "note", text: "No newline at end of file" });
});

test("a plain diff of two files, and lines with carriage returns", () => {
  const files = parseDiff(
    "--- a.txt\t2026-01-01\n+++ a.txt\t2026-01-02\n@@ -1 +1 @@\n-1\r2\n+1\r3\n--- b.txt\n+++ b.txt\n@@ -1 +1 @@\n-x\n+y\n",
  );
  expect(files.map((file) => file.path)).toEqual(["a.txt", "b.txt"]);
  expect(files[0]!.hunks[0]!.lines[0]!.text).toBe("1\r2");
});

test.each(["", "not a diff\nat all", "@@ -1,5 +1,5 @@\n torn"])("%j does not fail", (text) => {
  expect(() => parseDiff(text)).not.toThrow();
});

test("control characters can be seen, tabs stay", () => {
  expect(visible("a\x1b[1m\r\tb")).toBe("a␛[1m␍\tb");
});
