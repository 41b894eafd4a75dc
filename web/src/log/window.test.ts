import { expect, test } from "vitest";
import { LogWindow, aligned } from "./window";

const page = (from: number, text: string, size: number) => ({ from, to: from + text.length, size, text });

test("it grows at both ends", () => {
  const first = new LogWindow().after(page(4, "bbb\nccc\n", 16));
  expect([first.from, first.to, first.atStart, first.atEnd, first.lines]).toEqual([
    4,
    12,
    false,
    false,
    ["bbb", "ccc"],
  ]);
  const whole = first.before(page(0, "aaa\n", 16)).after(page(12, "ddd\n", 16));
  expect([whole.lines, whole.atStart, whole.atEnd]).toEqual([["aaa", "bbb", "ccc", "ddd"], true, true]);
});

test("what is far away is forgotten", () => {
  const mega = 1024 * 1024;
  const size = 10 * mega;
  let log = new LogWindow();
  for (let i = 0; i < 10; i++) log = log.after(page(i * mega, `${"x".repeat(mega - 1)}\n`, size));
  expect([log.from, log.to, log.lines.length]).toEqual([6 * mega, size, 4]);
  expect(log.before(page(5 * mega, `${"x".repeat(mega - 1)}\n`, size)).to).toBe(9 * mega);
});

test("a page that reaches into the window is cut", () => {
  const log = new LogWindow().after(page(8, "ccc\n", 12)).before(page(0, "aaa\nbbb\nccc\n", 12));
  expect([log.lines, log.from, log.to]).toEqual([["aaa", "bbb", "ccc"], 0, 12]);
  expect(log.before(page(0, "aaa\n", 12))).toBe(log);
});

test("nothing new changes only the size; a shorter log begins anew", () => {
  const log = new LogWindow().after(page(0, "aaa\n", 4));
  expect(log.after(page(4, "", 8)).lines).toEqual(["aaa"]);
  expect(log.after(page(0, "b\n", 2)).lines).toEqual(["b"]);
});

test("a byte leads to its line, in text of any width", () => {
  const text = "é1\nü22\nx\n";
  const log = new LogWindow().after({ from: 10, to: 10 + 11, size: 21, text });
  expect([10, 13, 14, 18, 19, 20, 21, 9].map((byte) => log.lineAt(byte))).toEqual([0, 0, 1, 1, 2, 2, -1, -1]);
});

test("line ends of Windows are line ends", () => {
  expect(new LogWindow().after(page(0, "a\r\nb\r\n", 6)).lines).toEqual(["a", "b"]);
});

test("half a line at the beginning is left out, but for one as long as the page", () => {
  const half = { from: 10, to: 17, size: 99, text: "é1\nab\n", begins: false };
  expect(aligned(half)).toMatchObject({ from: 14, to: 17, text: "ab\n" });
  expect(aligned({ ...half, begins: true })).toMatchObject({ from: 10, text: "é1\nab\n" });
  expect(aligned({ ...half, text: "long\n" }).from).toBe(10);
  expect(aligned({ ...half, text: "longer" }).from).toBe(10);
});
