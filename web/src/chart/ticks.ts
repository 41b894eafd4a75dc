/** Where an axis has its ticks and what they say; used by the canvas and by the SVG alike. */
import { formatRelative, formatNumber, formatTick, formatTime, type XKind } from "./format";
import type { Range, Scale } from "./range";

export interface Tick {
  value: number;
  label: string;
}

/** Smallest of 1, 2, 5 times a power of ten that gives at most `most` ticks. */
export function niceStep(width: number, most: number): number {
  const raw = width / Math.max(1, most);
  const power = Math.pow(10, Math.floor(Math.log10(raw)));
  const lead = raw / power;
  return (lead <= 1.0001 ? 1 : lead <= 2.0001 ? 2 : lead <= 5.0001 ? 5 : 10) * power;
}

const SECONDS = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800,
];

function steps([low, high]: Range, step: number): number[] {
  const out: number[] = [];
  // Multiples by counting, not adding, so that 0.1 * 3 carries no rounding error along.
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9 && out.length < 100; k++) {
    out.push(Number((k * step).toPrecision(14)));
  }
  return out;
}

function logTicks([low, high]: Range, most: number): Tick[] {
  const decades = Math.log10(high / low);
  if (decades < 1) return linearTicks([low, high], most);
  const every = Math.max(1, Math.ceil(decades / most));
  const out: Tick[] = [];
  for (let e = Math.ceil(Math.log10(low) / every - 1e-9) * every; Math.pow(10, e) <= high * 1.0000001; e += every) {
    out.push({ value: Number(`1e${e}`), label: powerLabel(e) });
    for (const m of decades * 3 <= most ? [2, 5] : []) {
      const value = Number(`${m}e${e}`);
      if (value <= high) out.push({ value, label: formatNumber(value) });
    }
  }
  return out;
}

const powerLabel = (e: number): string =>
  e >= -3 && e <= 3 ? formatNumber(Number(`1e${e}`)) : `1e${e}`.replace("-", "\u2212");

function linearTicks(range: Range, most: number): Tick[] {
  const step = niceStep(range[1] - range[0], most);
  return steps(range, step).map((value) => ({ value, label: formatTick(value, step) }));
}

function durationTicks(range: Range, most: number): Tick[] {
  const width = range[1] - range[0];
  if (width < most) return linearTicks(range, most).map((t) => ({ ...t, label: formatRelative(t.value) }));
  const step = SECONDS.find((s) => width / s <= most) ?? niceStep(width / 86_400, most) * 86_400;
  return steps(range, step).map((value) => ({ value, label: formatRelative(value) }));
}

function timeTicks(range: Range, most: number): Tick[] {
  const width = (range[1] - range[0]) / 1000;
  const step = (SECONDS.find((s) => width / s <= most) ?? niceStep(width / 86_400, most) * 86_400) * 1000;
  const shift = new Date(range[0]).getTimezoneOffset() * 60_000; // whole hours and days of the reader's zone
  return steps([range[0] - shift, range[1] - shift], step).map((local) => ({
    value: local + shift,
    label: formatTime(local + shift, step),
  }));
}

/** Ticks of an axis of the given kind, at most about `most`. */
export function ticks(range: Range, scale: Scale, kind: XKind, most: number): Tick[] {
  if (!(range[1] > range[0])) return [];
  if (scale === "log") return logTicks(range, most);
  if (kind === "relative") return durationTicks(range, most);
  return kind === "time" ? timeTicks(range, most) : linearTicks(range, most);
}
