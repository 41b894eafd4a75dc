/** The points of a chart as CSV (RFC 4180), as many as are drawn: buckets are told apart from points. */
import type { Line } from "./series";

function cell(text: string): string {
  // A leading sign of a formula is disarmed, for whoever opens the file in a spreadsheet.
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

export function csvOf(metric: string, xName: string, lines: readonly Line[]): string {
  const smoothed = lines.some((l) => l.y !== l.raw);
  const head = ["experiment_id", "name", "metric", "context", xName, "value", "min", "max", "exact"];
  const rows = [[...head, ...(smoothed ? ["smoothed"] : [])].map(cell).join(",")];
  for (const l of lines) {
    const names = [l.id, l.label, metric, l.context].map(cell).join(",");
    for (let i = 0; i < l.x.length; i++) {
      const values = [l.x[i], l.raw[i], l.low[i], l.high[i], l.exact, ...(smoothed ? [l.y[i]] : [])];
      rows.push(`${names},${values.join(",")}`);
    }
  }
  return rows.join("\r\n") + "\r\n";
}
