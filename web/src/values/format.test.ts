import { expect, test } from "vitest";
import { counted, formatAgo, formatBytes, shortHash } from "./format";

test.each([
  [0, "0 B"],
  [999, "999 B"],
  [1000, "1.0 kB"],
  [21_449, "21.4 kB"],
  [999_600, "1.0 MB"],
  [104_857_600, "105 MB"],
])("%d bytes are %s", (bytes, text) => expect(formatBytes(bytes)).toBe(text));

test.each([
  [1, "just now"],
  [60, "1 minute ago"],
  [3500, "1 hour ago"],
  [7200, "2 hours ago"],
  [86_400 * 3, "3 days ago"],
  [86_400 * 800, "2 years ago"],
])("%d seconds are %s", (seconds, text) => expect(formatAgo(0, seconds * 1000)).toBe(text));

test("nouns follow their number", () => {
  expect([counted(1, "file"), counted(1200, "file")]).toEqual(["1 file", "1,200 files"]);
});

test("hashes are cut", () => expect(shortHash("sha256:b4836bfec5dad62f")).toBe("b4836bfe"));
