/** A command line as it can be typed again: words with anything special in them are quoted. */
export function commandLine(words: unknown): string {
  if (typeof words === "string") return words;
  if (!Array.isArray(words)) return "";
  return words.map((word) => quoted(String(word))).join(" ");
}

function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
