import { formatNumber } from "../chart/format";
import { numberOf, type Cell, type Num } from "../wire/types";

export { formatNumber };

const minute = 60;
const hour = 60 * minute;
const day = 24 * hour;

/** A span of seconds as the command line writes it: `44 ms`, `1.4 s`, `12 s`, `4m 05s`, `2h 13m`, `3d 04h`. */
export function formatDuration(seconds: number): string {
  if (!Number.isFinite(seconds) || seconds < 0) return "";
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const two = (value: number) => String(value).padStart(2, "0");
  if (whole < minute) return `${whole} s`;
  if (whole < hour) return `${Math.floor(whole / minute)}m ${two(whole % minute)}s`;
  if (whole < day) return `${Math.floor(whole / hour)}h ${two(Math.floor((whole % hour) / minute))}m`;
  return `${Math.floor(whole / day)}d ${two(Math.floor((whole % day) / hour))}h`;
}

/** How long ago a moment was: `3 min ago`; the day itself when it is longer ago than a month. */
export function formatAge(ms: number, now: number): string {
  const seconds = Math.round((now - ms) / 1000);
  if (seconds < 10) return "just now";
  if (seconds < minute) return `${seconds} s ago`;
  if (seconds < hour) return `${Math.floor(seconds / minute)} min ago`;
  if (seconds < day) return `${Math.floor(seconds / hour)} h ago`;
  if (seconds < 30 * day) return `${Math.floor(seconds / day)} d ago`;
  return formatDay(ms);
}

/** A day in the reader's zone, `2026-11-23`. */
export function formatDay(ms: number): string {
  return formatTime(ms).slice(0, 10);
}

/** A moment in the reader's zone, `2026-11-23 21:56:16`. */
export function formatTime(ms: number): string {
  const date = new Date(ms);
  if (Number.isNaN(date.getTime())) return "";
  return new Date(ms - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 19).replace("T", " ");
}

/** `12,345`. The browser's own way to write it costs a first call of 10 to 30 ms, in which it loads its languages. */
export function formatWhole(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** `12,345 experiments`, `1 experiment`. */
export function formatCount(count: number, noun: string, plural = `${noun}s`): string {
  return `${formatWhole(count)} ${count === 1 ? noun : plural}`;
}

const units = ["B", "kB", "MB", "GB", "TB", "PB"];

/** Bytes in powers of a thousand, as disks are sold: `21.4 kB`. */
export function formatBytes(bytes: number): string {
  let at = 0;
  let size = bytes;
  while (size >= 999.5 && at < units.length - 1) {
    size /= 1000;
    at++;
  }
  return `${at === 0 || size >= 100 ? Math.round(size) : size.toFixed(1)} ${units[at]}`;
}

/** A value of a table, short; what is not there is empty. */
export function formatCell(value: Cell | undefined): string {
  if (value === null || value === undefined) return "";
  if (typeof value === "boolean") return value ? "true" : "false";
  const number = numberOf(value);
  if (number !== null) return formatNumber(number);
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** A measured value: always four significant digits, so that the numbers of a column are alike. */
export function formatMeasure(value: Num): string {
  const number = numberOf(value) ?? NaN;
  const size = Math.abs(number);
  if (!Number.isFinite(number) || Number.isInteger(number) || size >= 1e4 || size < 1e-3) return formatNumber(number);
  return number.toPrecision(4).replace("-", "\u2212");
}

/** A value of a table in full. */
export function fullCell(value: Cell | undefined): string {
  if (value === null || value === undefined) return "";
  return typeof value === "string" ? value : typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** `0.4213 ± 0.012`. */
export function formatSpread(mean: Num, std: Num | null): string {
  const spread = numberOf(std);
  return spread === null ? formatMeasure(mean) : `${formatMeasure(mean)} ± ${formatNumber(spread, 2)}`;
}
