/** Numbers and times as a person reads them, short and with the digits aligned by the caller. */

export type XKind = "number" | "relative" | "time";

const MINUS = "\u2212";
const dash = (text: string): string => text.replaceAll("-", MINUS);

/** A value in at most `digits` significant digits; large and small ones with an exponent. */
export function formatNumber(v: number, digits = 4): string {
  if (Number.isNaN(v)) return "NaN";
  if (!Number.isFinite(v)) return v > 0 ? "∞" : `${MINUS}∞`;
  if (v === 0) return "0";
  const size = Math.abs(v);
  if (size >= 1e6 || size < 1e-3) {
    const [mantissa, exponent] = v.toExponential(digits - 1).split("e") as [string, string];
    return dash(`${trimmed(mantissa)}e${Number(exponent)}`);
  }
  if (Number.isInteger(v)) return dash(String(v));
  return dash(trimmed(v.toFixed(Math.min(12, Math.max(0, digits - 1 - Math.floor(Math.log10(size)))))));
}

const trimmed = (text: string): string => (text.includes(".") ? text.replace(/0+$/, "").replace(/\.$/, "") : text);

const UNITS: [number, string][] = [
  [1e9, "G"],
  [1e6, "M"],
  [1e3, "k"],
];

/** A tick label: as many decimals as the distance of two ticks needs, `k` and `M` for large values. */
export function formatTick(v: number, step: number): string {
  if (v === 0) return "0";
  const size = Math.abs(v);
  if (size >= 1e12 || size < 1e-4) return formatNumber(v, 3 + Math.max(0, Math.floor(Math.log10(size / step))));
  for (const [by, suffix] of UNITS) {
    // Not below ten thousand unless all ticks are thousands, and never with more than two decimals.
    if (size >= by * (by > 1e3 || step >= by ? 1 : 10) && decimals(step / by) <= 2) {
      return dash((v / by).toFixed(decimals(step / by))) + suffix;
    }
  }
  return dash(v.toFixed(decimals(step)));
}

const decimals = (step: number): number =>
  Math.min(12, Math.max(0, -Math.floor(Math.log10(Math.abs(step) || 1) + 1e-9)));

/** Seconds along an axis, where ticks fall on whole units: `1 d 2 h`, `3 min 4 s`, `1.5 s`. */
export function formatRelative(seconds: number): string {
  if (!Number.isFinite(seconds)) return formatNumber(seconds);
  const sign = seconds < 0 ? MINUS : "";
  const s = Math.abs(seconds);
  if (s === 0) return "0 s";
  if (s < 60) return `${sign}${trimmed(s.toFixed(s < 10 ? 2 : 1))} s`;
  const parts: [number, string][] = [
    [Math.floor(s / 86_400), "d"],
    [Math.floor((s % 86_400) / 3600), "h"],
    [Math.floor((s % 3600) / 60), "min"],
    [Math.floor(s % 60), "s"],
  ];
  const first = parts.findIndex(([n]) => n > 0);
  const shown = parts.slice(first, first + 2).filter(([n]) => n > 0);
  return sign + shown.map(([n, unit]) => `${n} ${unit}`).join(" ");
}

const two = (n: number): string => String(n).padStart(2, "0");

/** A time in the reader's zone; ticks show only what changes between them. */
export function formatTime(ms: number, stepMs = 0): string {
  const d = new Date(ms);
  if (Number.isNaN(d.getTime())) return "";
  const day = `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}`;
  const minute = `${two(d.getHours())}:${two(d.getMinutes())}`;
  if (stepMs >= 86_400_000) return day.slice(5);
  if (stepMs >= 60_000) return minute;
  if (stepMs > 0) return `${minute}:${two(d.getSeconds())}`;
  return `${day} ${minute}:${two(d.getSeconds())}`;
}

/** A value of the x axis as the hover shows it. */
export function formatX(v: number, kind: XKind): string {
  if (kind === "time") return formatTime(v);
  return kind === "relative" ? formatRelative(v) : formatNumber(v, 6);
}
