/**
 * Console text as styled spans. What a terminal would have shown is kept: colours, weight, and what carriage
 * returns and backspaces wrote over. Everything else that an escape sequence may ask for is left out.
 */

/** A colour: one of the terminal's sixteen, which the theme decides, or red, green and blue in 0…255. */
export type Colour = number | readonly [number, number, number];

export interface Style {
  fg: Colour | null;
  bg: Colour | null;
  bold: boolean;
  dim: boolean;
  italic: boolean;
  underline: boolean;
  strike: boolean;
  inverse: boolean;
}

export interface Span {
  text: string;
  style: Style;
}

export const plain: Style = {
  fg: null,
  bg: null,
  bold: false,
  dim: false,
  italic: false,
  underline: false,
  strike: false,
  inverse: false,
};

const special = /[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]/;
// CSI …; OSC and other strings up to BEL or ST; two-character escapes; a lone or torn ESC.
const token =
  /\x1b\[([\x30-\x3f]*)[\x20-\x2f]*([\x40-\x7e])|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[\x20-\x2f]*[\x30-\x7e]?|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f\x80-\x9f]/g;
/** No program means to write beyond this column; a sequence that says so shall not fill the memory. */
const widest = 100_000;

/** Parses one line (without its line end) that begins in a style; returns its spans and the style it ends in. */
export function parseLine(line: string, start: Style = plain): { spans: Span[]; style: Style } {
  if (!special.test(line)) return { spans: line === "" ? [] : [{ text: line, style: start }], style: start };
  const screen = new Screen();
  let style = start;
  let from = 0;
  for (const match of line.matchAll(token)) {
    screen.write(line.slice(from, match.index), style);
    from = match.index + match[0].length;
    if (match[2] !== undefined) {
      if (match[2] === "m") style = styled(style, match[1] ?? "");
      else screen.move(match[2], match[1] ?? "");
    } else if (match[0] === "\r") screen.column = 0;
    else if (match[0] === "\b") screen.column = Math.max(0, screen.column - 1);
  }
  screen.write(line.slice(from), style);
  return { spans: screen.spans(), style };
}

/** The text of a line as it is seen. */
export function textOf(line: string): string {
  return parseLine(line)
    .spans.map((span) => span.text)
    .join("");
}

/** The cells of one line. Written at the end, text is kept in runs; written over, it is cut into them. */
class Screen {
  column = 0;
  #runs: Span[] = [];
  #length = 0;

  write(text: string, style: Style): void {
    if (text === "") return;
    if (this.column > this.#length) this.#append(" ".repeat(this.column - this.#length), plain);
    if (this.column === this.#length) this.#append(text, style);
    else {
      const [before, rest] = split(this.#runs, this.column);
      this.#runs = [...before, { text, style }, ...split(rest, text.length)[1]];
      this.#length = Math.max(this.#length, this.column + text.length);
    }
    this.column += text.length;
  }

  move(kind: string, parameters: string): void {
    const n = Number.parseInt(parameters, 10);
    const count = Number.isNaN(n) ? 1 : Math.max(1, n);
    if (kind === "C") this.column = Math.min(widest, this.column + count);
    else if (kind === "D") this.column = Math.max(0, this.column - count);
    else if (kind === "G") this.column = Math.min(widest, count - 1);
    else if (kind === "K") this.#erase(Number.isNaN(n) ? 0 : n);
  }

  spans(): Span[] {
    const joined: Span[] = [];
    for (const run of this.#runs) {
      const last = joined.at(-1);
      if (last !== undefined && last.style === run.style) last.text += run.text;
      else if (run.text !== "") joined.push({ ...run });
    }
    return joined;
  }

  #append(text: string, style: Style): void {
    this.#runs.push({ text, style });
    this.#length += text.length;
  }

  /** 0: from the cursor on, 1: up to it, 2: all. */
  #erase(what: number): void {
    const [before, rest] = split(this.#runs, this.column);
    const blank = { text: " ".repeat(Math.min(this.column, this.#length)), style: plain };
    this.#runs = what === 0 ? before : what === 1 ? [blank, ...rest] : [];
    this.#length = this.#runs.reduce((sum, run) => sum + run.text.length, 0);
  }
}

function split(runs: Span[], at: number): [Span[], Span[]] {
  let column = 0;
  for (const [index, run] of runs.entries()) {
    const next = column + run.text.length;
    if (at < next) {
      const left = { text: run.text.slice(0, at - column), style: run.style };
      const right = { text: run.text.slice(at - column), style: run.style };
      return [
        [...runs.slice(0, index), left],
        [right, ...runs.slice(index + 1)],
      ];
    }
    column = next;
  }
  return [runs, []];
}

const switches: Record<number, Partial<Style>> = {
  1: { bold: true },
  2: { dim: true },
  3: { italic: true },
  4: { underline: true },
  7: { inverse: true },
  9: { strike: true },
  21: { underline: true },
  22: { bold: false, dim: false },
  23: { italic: false },
  24: { underline: false },
  27: { inverse: false },
  29: { strike: false },
  39: { fg: null },
  49: { bg: null },
};

/** The style after an SGR sequence with these parameters; both `38;5;n` and `38:5:n` are understood. */
function styled(style: Style, parameters: string): Style {
  const codes = parameters.split(/[;:]/).map((code) => (code === "" ? 0 : Number.parseInt(code, 10)));
  let next = style;
  for (let i = 0; i < codes.length; i++) {
    const code = codes[i] ?? 0;
    if (code === 0) next = plain;
    else if (code in switches) next = { ...next, ...switches[code] };
    else if (code >= 30 && code <= 37) next = { ...next, fg: code - 30 };
    else if (code >= 40 && code <= 47) next = { ...next, bg: code - 40 };
    else if (code >= 90 && code <= 97) next = { ...next, fg: code - 82 };
    else if (code >= 100 && code <= 107) next = { ...next, bg: code - 92 };
    else if (code === 38 || code === 48) {
      const [colour, used] = extended(codes.slice(i + 1));
      if (colour !== null) next = { ...next, [code === 38 ? "fg" : "bg"]: colour };
      i += used;
    }
  }
  return next;
}

/** A colour of 256 or of 16 million, and how many codes told it. */
function extended(codes: number[]): [Colour | null, number] {
  const [kind, a = 0, b = 0, c = 0] = codes;
  if (kind === 5) return [indexed(a), 2];
  if (kind === 2) return [[byte(a), byte(b), byte(c)], 4];
  return [null, codes.length];
}

const byte = (n: number): number => Math.min(255, Math.max(0, n));

function indexed(n: number): Colour {
  if (n < 16) return Math.max(0, n);
  if (n >= 232) {
    const grey = 8 + 10 * (Math.min(n, 255) - 232);
    return [grey, grey, grey];
  }
  const level = (k: number): number => (k === 0 ? 0 : 55 + 40 * k);
  const k = n - 16;
  return [level(Math.floor(k / 36)), level(Math.floor(k / 6) % 6), level(k % 6)];
}
