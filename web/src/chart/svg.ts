/** A chart as an SVG of its own: title, axes, lines and legend, drawn from the data and not from the screen. */
import type { XKind } from "./format";
import type { Ink, Picture } from "./paint";
import { placesOf, type Places } from "./project";
import { fraction } from "./range";
import type { Line } from "./series";
import { ticks } from "./ticks";

export interface Sheet {
  title: string;
  xLabel: string;
  kind: XKind;
  width: number;
  height: number;
  ink: Ink;
}

const LEGEND_ROW = 18;
const LEGEND_MOST = 40;
const escapes: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;" };

function escaped(text: string): string {
  // Characters that XML cannot hold at all are shown as U+FFFD.
  // eslint-disable-next-line no-control-regex
  return text
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "\ufffd")
    .replace(/[&<>"']/g, (c) => escapes[c]!);
}

const n = (v: number): string => String(Math.round(v * 100) / 100);

function track(x: Float64Array, y: Float64Array, extents?: Places): string {
  let out = "";
  let open = false;
  for (let i = 0; i < x.length; i++) {
    if (Number.isNaN(y[i]!)) {
      open = false;
      continue;
    }
    if (extents && extents.top[i] !== extents.bottom[i] && !Number.isNaN(extents.top[i]!)) {
      out += `${open ? "L" : "M"}${n(x[i]!)} ${n(extents.bottom[i]!)}L${n(x[i]!)} ${n(extents.top[i]!)}`;
      open = true;
    }
    out += `${open ? "L" : "M"}${n(x[i]!)} ${n(y[i]!)}`;
    if (!open && (i + 1 === x.length || Number.isNaN(y[i + 1]!))) out += "h0.01"; // a point alone, as a dot
    open = true;
  }
  return out;
}

function area({ x, top, bottom }: Places): string {
  const seen = [...x.keys()].filter((i) => !Number.isNaN(top[i]!) && !Number.isNaN(bottom[i]!));
  if (seen.length < 2) return "";
  const up = seen.map((i) => `${n(x[i]!)} ${n(top[i]!)}`);
  const down = seen.reverse().map((i) => `${n(x[i]!)} ${n(bottom[i]!)}`);
  return `M${[...up, ...down].join("L")}Z`;
}

function drawn(line: Line, p: Places, areas: boolean): string {
  const path = (d: string, more: string): string =>
    d === "" ? "" : `<path d="${d}" fill="none" stroke="${line.colour}" stroke-linecap="round" ${more}/>`;
  const smoothed = line.y !== line.raw && !line.band;
  const dash = line.dash.length ? `stroke-dasharray="${line.dash.join(" ")}" ` : "";
  const parts = [];
  if ((areas || line.band) && !line.exact) {
    parts.push(`<path d="${area(p)}" fill="${line.colour}" fill-opacity="${smoothed ? 0.12 : 0.2}"/>`);
  }
  const raw = areas || line.exact || line.band ? undefined : p;
  if (smoothed) parts.push(path(track(p.x, p.raw, raw), `stroke-width="1" stroke-opacity="0.22"`));
  parts.push(path(track(p.x, p.y, smoothed ? undefined : raw), `${dash}stroke-width="1.5"`));
  return parts.join("");
}

export function svgOf({ lines, view, scales }: Picture, sheet: Sheet): string {
  const { ink, width } = sheet;
  const legend = lines.slice(0, LEGEND_MOST);
  const columns = Math.max(1, Math.floor(width / 300));
  const rows = Math.ceil(legend.length / columns) + (lines.length > legend.length ? 1 : 0);
  const frame = { left: 64, top: 40, width: width - 80, height: sheet.height - 96 };
  const foot = frame.top + frame.height;
  const text = (x: number, y: number, label: string, more = ""): string =>
    `<text x="${n(x)}" y="${n(y)}" fill="${ink.text}" ${more}>${escaped(label)}</text>`;
  const rule = (x1: number, y1: number, x2: number, y2: number): string =>
    `<path d="M${n(x1)} ${n(y1)}L${n(x2)} ${n(y2)}" stroke="${ink.grid}" stroke-width="1"/>`;
  const out: string[] = [];
  for (const t of ticks(view.x, scales.x, sheet.kind, Math.floor(frame.width / 90))) {
    const x = frame.left + fraction(t.value, view.x, scales.x) * frame.width;
    out.push(rule(x, frame.top, x, foot), text(x, foot + 18, t.label, `text-anchor="middle"`));
  }
  for (const t of ticks(view.y, scales.y, "number", Math.floor(frame.height / 36))) {
    const y = foot - fraction(t.value, view.y, scales.y) * frame.height;
    out.push(rule(frame.left, y, frame.left + frame.width, y));
    out.push(text(frame.left - 8, y + 4, t.label, `text-anchor="end"`));
  }
  const clip = `<clipPath id="frame"><rect x="0" y="0" width="${n(frame.width)}" height="${n(frame.height)}"/></clipPath>`;
  const areas = lines.length <= 6;
  const body = lines.map((l) => drawn(l, placesOf(l, view, scales, frame.width, frame.height), areas)).join("");
  legend.forEach((l, i) => {
    const x = frame.left + (i % columns) * ((width - 80) / columns);
    const y = sheet.height + 4 + Math.floor(i / columns) * LEGEND_ROW;
    const dash = l.dash.length ? ` stroke-dasharray="${l.dash.join(" ")}"` : "";
    out.push(`<path d="M${n(x)} ${n(y)}h20" stroke="${l.colour}" stroke-width="2"${dash}/>`);
    const name = l.context ? `${l.label} · ${l.context}` : l.label;
    out.push(text(x + 26, y + 4, name.length > 32 ? `${name.slice(0, 31)}…` : name));
  });
  if (lines.length > legend.length) {
    const y = sheet.height + 8 + (rows - 1) * LEGEND_ROW;
    out.push(text(frame.left, y, `and ${lines.length - legend.length} more`));
  }
  const height = sheet.height + 8 + rows * LEGEND_ROW;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" `,
    `font-family="system-ui, sans-serif" font-size="12">`,
    `<title>${escaped(sheet.title)}</title><rect width="${width}" height="${height}" fill="${ink.surface}"/>`,
    `<defs>${clip}</defs>`,
    text(frame.left, 24, sheet.title, `font-size="14" font-weight="600"`),
    ...out,
    text(frame.left + frame.width, foot + 36, sheet.xLabel, `text-anchor="end"`),
    `<g transform="translate(${frame.left} ${frame.top})" clip-path="url(#frame)">${body}</g></svg>`,
  ].join("");
}
