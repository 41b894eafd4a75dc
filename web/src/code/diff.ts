/** A unified diff as files, hunks and lines, with the part of a line that changed. */

export interface DiffLine {
  kind: "same" | "added" | "removed" | "note";
  old: number | null;
  new: number | null;
  text: string;
  /** Of a line that was changed into another: where in it the change begins and ends. */
  changed: [number, number] | null;
}

export interface Hunk {
  header: string;
  lines: DiffLine[];
}

export interface DiffFile {
  path: string;
  oldPath: string | null;
  kind: "added" | "removed" | "changed" | "renamed";
  binary: boolean;
  added: number;
  removed: number;
  hunks: Hunk[];
}

const hunkHead = /^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@(.*)$/;

export function parseDiff(text: string): DiffFile[] {
  const files: DiffFile[] = [];
  let file: DiffFile | null = null;
  let hunk: Hunk | null = null;
  let [oldLine, newLine, oldLeft, newLeft] = [0, 0, 0, 0];
  for (const line of text.replace(/\n$/, "").split("\n")) {
    if (hunk !== null && (oldLeft > 0 || newLeft > 0 || line.startsWith("\\"))) {
      const kind = kindOf(line);
      const [hasOld, hasNew] = [kind === "same" || kind === "removed", kind === "same" || kind === "added"];
      hunk.lines.push({
        kind,
        old: hasOld ? oldLine++ : null,
        new: hasNew ? newLine++ : null,
        text: line.slice(kind === "note" ? 2 : 1),
        changed: null,
      });
      oldLeft -= hasOld ? 1 : 0;
      newLeft -= hasNew ? 1 : 0;
      continue;
    }
    const head = hunkHead.exec(line);
    if (line.startsWith("diff --git ")) {
      hunk = null;
      files.push((file = emptyFile(pathsOf(line))));
    } else if (head !== null) {
      if (file === null) files.push((file = emptyFile(["", ""])));
      file.hunks.push((hunk = { header: (head[5] ?? "").trim(), lines: [] }));
      [oldLine, newLine] = [Number(head[1]), Number(head[3])];
      [oldLeft, newLeft] = [Number(head[2] ?? 1), Number(head[4] ?? 1)];
    } else if (line.startsWith("--- ") && (file === null || file.hunks.length > 0)) {
      hunk = null; // a plain diff, without a line of git's before each file
      files.push((file = emptyFile([named(line.slice(4)), ""])));
    } else if (file !== null) describe(file, line);
  }
  for (const one of files) finish(one);
  return files;
}

/** Text with its control characters as pictures, so that a change of one can be seen. */
export function visible(text: string): string {
  // eslint-disable-next-line no-control-regex
  return text.replace(/[\x00-\x08\x0b-\x1f]/g, (one) => String.fromCharCode(0x2400 + one.charCodeAt(0)));
}

function kindOf(line: string): DiffLine["kind"] {
  if (line.startsWith("+")) return "added";
  if (line.startsWith("-")) return "removed";
  return line.startsWith("\\") ? "note" : "same";
}

function emptyFile([oldPath, path]: [string, string]): DiffFile {
  return { path, oldPath, kind: "changed", binary: false, added: 0, removed: 0, hunks: [] };
}

/** Reads one line of a file's head. */
function describe(file: DiffFile, line: string): void {
  if (line.startsWith("--- ")) file.oldPath = named(line.slice(4)) || file.oldPath;
  else if (line.startsWith("+++ ")) file.path = named(line.slice(4)) || file.path || (file.oldPath ?? "");
  else if (line.startsWith("rename from ")) file.oldPath = unquoted(line.slice(12));
  else if (line.startsWith("rename to ")) [file.path, file.kind] = [unquoted(line.slice(10)), "renamed"];
  else if (line.startsWith("Binary files ") || line.startsWith("GIT binary patch")) file.binary = true;
  if (line.startsWith("new file") || line === "--- /dev/null") file.kind = "added";
  if (line.startsWith("deleted file") || line === "+++ /dev/null") file.kind = "removed";
}

function finish(file: DiffFile): void {
  if (file.path === "") file.path = file.oldPath ?? "";
  if (file.kind !== "renamed") file.oldPath = null;
  for (const hunk of file.hunks) {
    file.added += hunk.lines.filter((line) => line.kind === "added").length;
    file.removed += hunk.lines.filter((line) => line.kind === "removed").length;
    markChanges(hunk.lines);
  }
}

/** Where as many lines were added as were removed before them, they are the same lines, changed. */
function markChanges(lines: DiffLine[]): void {
  for (let i = 0; i < lines.length;) {
    const removed = run(lines, i, "removed");
    const added = run(lines, i + removed, "added");
    if (removed > 0 && removed === added) {
      for (let k = 0; k < removed; k++) markPair(lines[i + k]!, lines[i + removed + k]!);
    }
    i += Math.max(1, removed + added);
  }
}

const word = /\w/;

function run(lines: DiffLine[], from: number, kind: DiffLine["kind"]): number {
  let n = 0;
  while (lines[from + n]?.kind === kind) n++;
  return n;
}

function markPair(a: DiffLine, b: DiffLine): void {
  const shorter = Math.min(a.text.length, b.text.length);
  let head = 0;
  while (head < shorter && a.text[head] === b.text[head]) head++;
  let tail = 0;
  while (tail < shorter - head && a.text.at(-1 - tail) === b.text.at(-1 - tail)) tail++;
  if (head + tail < 3) return; // nothing in common but by chance
  // Whole words are marked: `ReLU` became `GELU`, not `Re` became `GE`.
  while (head > 0 && word.test(a.text[head - 1]!)) head--;
  while (tail > 0 && word.test(a.text.at(-tail)!)) tail--;
  a.changed = [head, a.text.length - tail];
  b.changed = [head, b.text.length - tail];
}

/** The paths of `diff --git a/x b/x`; only where both are the same can they be told apart for sure. */
function pathsOf(line: string): [string, string] {
  const rest = line.slice("diff --git ".length);
  const half = rest.slice(0, (rest.length - 1) / 2);
  const path = unquoted(half).replace(/^a\//, "");
  return [path, path];
}

/** The path of a `---` or `+++` line; "" for none. */
function named(text: string): string {
  const path = unquoted(text.split("\t")[0] ?? "");
  return path === "/dev/null" ? "" : path.replace(/^[ab]\//, "");
}

function unquoted(path: string): string {
  return /^".*"$/.test(path) ? path.slice(1, -1).replace(/\\(["\\])/g, "$1") : path;
}
