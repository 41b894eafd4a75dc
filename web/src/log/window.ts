/**
 * A window on a log of any size: some runs of lines that follow each other, fetched by bytes. It grows at both ends
 * and forgets what is far from where one looks, so that a log of gigabytes costs no more than a small one.
 */

export interface Chunk {
  from: number;
  to: number;
  lines: string[];
  /** Characters of its longest line. */
  widest: number;
}

export interface Page {
  from: number;
  to: number;
  size: number;
  text: string;
}

/** Bytes asked for at once. */
export const pageBytes = 256 * 1024;
/** Characters kept; some forty thousand lines. */
const keptBytes = 4 * 1024 * 1024;

export class LogWindow {
  readonly chunks: readonly Chunk[];
  /** Size of the whole log in bytes, as last told. */
  readonly size: number;

  constructor(chunks: readonly Chunk[] = [], size = 0) {
    this.chunks = chunks;
    this.size = size;
  }

  get from(): number {
    return this.chunks[0]?.from ?? 0;
  }

  get to(): number {
    return this.chunks.at(-1)?.to ?? 0;
  }

  get lines(): string[] {
    return this.chunks.flatMap((chunk) => chunk.lines);
  }

  get widest(): number {
    return Math.max(0, ...this.chunks.map((chunk) => chunk.widest));
  }

  get atStart(): boolean {
    return this.from === 0;
  }

  get atEnd(): boolean {
    return this.to >= this.size;
  }

  /** With the page that follows; what is now too far before it is forgotten. */
  after(page: Page): LogWindow {
    if (page.size < this.size) return new LogWindow([chunkOf(page)], page.size); // it was begun anew
    if (page.to <= page.from) return new LogWindow(this.chunks, page.size);
    const chunks = [...this.chunks, chunkOf(page)];
    while (chunks.length > 1 && page.to - chunks[0]!.from > keptBytes) chunks.shift();
    return new LogWindow(chunks, page.size);
  }

  /** With a page that comes before; where it reaches into the window it is cut. */
  before(page: Page): LogWindow {
    const chunk = until(chunkOf(page), this.from);
    if (chunk.lines.length === 0) return this;
    const chunks = [chunk, ...this.chunks];
    while (chunks.length > 1 && chunks.at(-1)!.to - page.from > keptBytes) chunks.pop();
    return new LogWindow(chunks, page.size);
  }

  /** The line that a byte lies in; -1 outside the window. */
  lineAt(byte: number): number {
    let index = 0;
    for (const chunk of this.chunks) {
      if (byte >= chunk.from && byte < chunk.to) {
        let at = chunk.from;
        for (const [offset, line] of chunk.lines.entries()) {
          at += bytesOf(line) + 1;
          if (byte < at) return index + offset;
        }
        return index + Math.max(0, chunk.lines.length - 1);
      }
      index += chunk.lines.length;
    }
    return -1;
  }
}

/**
 * A page that begins inside a line without the rest of that line, so that no row is half a line; of a line as long as
 * the page the part is kept.
 */
export function aligned(page: Page & { begins?: boolean }): Page {
  const end = page.begins === false ? page.text.indexOf("\n") + 1 : 0;
  if (end === 0 || end === page.text.length) return page;
  const text = page.text.slice(end);
  return { ...page, from: page.to - bytesOf(text), text }; // counted from the end: what is left out may be half a character
}

function chunkOf(page: Page): Chunk {
  const lines = page.text.split("\n").map((line) => (line.endsWith("\r") ? line.slice(0, -1) : line));
  if (lines.at(-1) === "") lines.pop();
  return { from: page.from, to: page.to, lines, widest: lines.reduce((most, line) => Math.max(most, line.length), 0) };
}

/** The lines of a chunk that begin before a byte. */
function until(chunk: Chunk, byte: number): Chunk {
  if (chunk.to <= byte) return chunk;
  let at = chunk.from;
  const kept = chunk.lines.findIndex((line) => {
    const begins = at;
    at += bytesOf(line) + 1;
    return begins >= byte;
  });
  return { ...chunk, to: byte, lines: kept < 0 ? chunk.lines : chunk.lines.slice(0, kept) };
}

const encoder = new TextEncoder();

/** UTF-8 length; plain ASCII, which most lines are, is not encoded for it. */
function bytesOf(line: string): number {
  // eslint-disable-next-line no-control-regex
  return /^[\x00-\x7f]*$/.test(line) ? line.length : encoder.encode(line).length;
}
