import { expect, test } from "vitest";
import { commandLine } from "./command";

test.each([
  [["python", "train.py", "--lr=0.1"], "python train.py --lr=0.1"],
  [["python", "-c", "print('a b')"], `python -c 'print('\\''a b'\\'')'`],
  [["x", "", "$HOME"], "x '' '$HOME'"],
  ["make demo", "make demo"],
  [null, ""],
])("%j", (words, line) => expect(commandLine(words)).toBe(line));
