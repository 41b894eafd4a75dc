/** Sizes, counts and times as a person reads them; numbers and durations are in `chart/format`. */
import { formatWhole } from "../ui/format";

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

/** A count with its thousands apart: `12,345`. */
export function formatCount(count: number): string {
  return formatWhole(count);
}

/** `1 file`, `2 files`. */
export function counted(count: number, noun: string, plural = `${noun}s`): string {
  return `${formatCount(count)} ${count === 1 ? noun : plural}`;
}

const spans: [number, Intl.RelativeTimeFormatUnit][] = [
  [60, "second"],
  [60, "minute"],
  [24, "hour"],
  [30, "day"],
  [12, "month"],
  [Infinity, "year"],
];
/** Made when first needed: loading the browser's languages takes it 5 ms and more. */
let relative: Intl.RelativeTimeFormat | undefined;

/** How long ago a time was: `3 minutes ago`. */
export function formatAgo(timeMs: number, nowMs: number): string {
  let amount = (timeMs - nowMs) / 1000;
  relative ??= new Intl.RelativeTimeFormat("en", { numeric: "always", style: "long" });
  if (Math.abs(amount) < 45) return "just now";
  for (const [length, unit] of spans) {
    if (Math.abs(amount) < length * 0.95) return relative.format(Math.round(amount) || Math.sign(amount), unit);
    amount /= length;
  }
  return "";
}

/** The first hex digits of a commit or digest. */
export function shortHash(hash: string): string {
  return hash.replace(/^\w+:/, "").slice(0, 8);
}
