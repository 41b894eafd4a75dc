/** Draws lines on a canvas: by strokes if they are few, by pixels if they are a crowd. */
import { rgbOf } from "./colour";
import { fraction } from "./range";
import { placesOf, type Places, type Scales } from "./project";
import { makeRaster, paintDot, paintLine, pixelsOf, type Raster, type Rgb } from "./raster";
import type { Line, View } from "./series";

/** A place on a canvas, in its pixels. */
export interface Frame {
  left: number;
  top: number;
  width: number;
  height: number;
}

/** The colours of what is not a line. */
export interface Ink {
  text: string;
  grid: string;
  surface: string;
  font: string;
}

export interface Picture {
  lines: readonly Line[];
  view: View;
  scales: Scales;
  /** Places of x that are told about, such as where two experiments part. */
  marks?: readonly { x: number; label: string }[];
}

/**
 * Up to so many lines, what lies between min and max is a tinted area; above, a vertical stroke a bucket. In a crowd it
 * is pale and behind all lines: strokes of the last one would hide the others.
 */
export const AREAS = 6;
/** Up to so many lines are stroked. */
export const STROKES = 32;
const FAINT = 0.22;

/** @param surface colour of what is below, as `#rrggbb` */
export function paint(
  ctx: CanvasRenderingContext2D,
  picture: Picture,
  frame: Frame,
  ratio: number,
  surface: string,
): void {
  ctx.save();
  ctx.beginPath();
  ctx.rect(frame.left, frame.top, frame.width, frame.height);
  ctx.clip();
  if (picture.lines.length > STROKES) {
    // The crowd's painter goes through columns of pixels from left to right, as a path does not.
    const [paths, lines] = [picture.lines.filter((l) => l.path), picture.lines.filter((l) => !l.path)];
    if (lines.length) paintCrowd(ctx, { ...picture, lines }, frame, ratio, rgbOf(surface));
    if (paths.length) paintFew(ctx, { ...picture, lines: paths }, frame, ratio);
  } else paintFew(ctx, picture, frame, ratio);
  ctx.restore();
}

const smoothed = (line: Line): boolean => line.y !== line.raw && !line.band;

function paintFew(ctx: CanvasRenderingContext2D, { lines, view, scales }: Picture, frame: Frame, ratio: number): void {
  ctx.translate(frame.left, frame.top);
  ctx.lineJoin = "round";
  const areas = lines.length <= AREAS;
  const all = lines.map((line) => placesOf(line, view, scales, frame.width, frame.height));
  lines.forEach((line, i) => {
    const p = all[i]!;
    if ((areas || line.band) && !line.exact) {
      ctx.globalAlpha = smoothed(line) ? 0.14 : 0.26;
      ctx.fillStyle = line.colour;
      ctx.fill(area(p));
    }
    if (smoothed(line)) {
      ctx.globalAlpha = FAINT;
      stroke(ctx, line, areas || line.exact ? track(p.x, p.raw) : extents(p, p.raw), ratio, []);
    }
  });
  ctx.globalAlpha = 1;
  const width = (lines.length > 12 ? 1.25 : 1.5) * ratio;
  lines.forEach((line, i) => {
    const p = all[i]!;
    const plain = areas || line.exact || line.band || smoothed(line);
    stroke(
      ctx,
      line,
      plain ? track(p.x, p.y) : extents(p, p.y),
      width,
      line.dash.map((d) => d * ratio),
    );
    ctx.fillStyle = line.colour;
    dots(ctx, p, 2.25 * ratio);
    breaks(ctx, p, frame.height, ratio);
  });
}

function stroke(ctx: CanvasRenderingContext2D, line: Line, path: Path2D, width: number, dash: number[]): void {
  ctx.strokeStyle = line.colour;
  ctx.lineWidth = width;
  ctx.setLineDash(dash);
  ctx.stroke(path);
  ctx.setLineDash([]);
}

function track(x: Float64Array, y: Float64Array): Path2D {
  const path = new Path2D();
  let open = false;
  for (let i = 0; i < x.length; i++) {
    if (Number.isNaN(y[i]!) || Number.isNaN(x[i]!)) open = false;
    else if (open) path.lineTo(x[i]!, y[i]!);
    else {
      path.moveTo(x[i]!, y[i]!);
      open = true;
    }
  }
  return path;
}

/** The line with a vertical stroke over each bucket, from its smallest to its largest value. */
function extents({ x, top, bottom }: Places, y: Float64Array): Path2D {
  const path = new Path2D();
  let open = false;
  for (let i = 0; i < x.length; i++) {
    if (Number.isNaN(x[i]!)) continue;
    if (!Number.isNaN(top[i]!) && top[i] !== bottom[i]) {
      if (open) path.lineTo(x[i]!, bottom[i]!);
      else path.moveTo(x[i]!, bottom[i]!);
      path.lineTo(x[i]!, top[i]!);
      open = true;
    }
    if (Number.isNaN(y[i]!)) open = false;
    else if (open) path.lineTo(x[i]!, y[i]!);
    else {
      path.moveTo(x[i]!, y[i]!);
      open = true;
    }
  }
  return path;
}

function area({ x, top, bottom }: Places): Path2D {
  const path = new Path2D();
  const shown = (i: number): boolean => !Number.isNaN(top[i]!) && !Number.isNaN(bottom[i]!) && !Number.isNaN(x[i]!);
  for (let from = 0; from < x.length; from++) {
    if (!shown(from)) continue;
    let to = from;
    while (to < x.length && shown(to)) to++;
    path.moveTo(x[from]!, top[from]!);
    for (let i = from + 1; i < to; i++) path.lineTo(x[i]!, top[i]!);
    for (let i = to - 1; i >= from; i--) path.lineTo(x[i]!, bottom[i]!);
    path.closePath();
    from = to;
  }
  return path;
}

/** Points without a neighbour, which no line would show. */
function dots(ctx: CanvasRenderingContext2D, p: Places, radius: number): void {
  for (let i = 0; i < p.x.length; i++) {
    if (!isolated(p, i) && !(i === 0 && standsStill(p))) continue;
    ctx.beginPath();
    ctx.arc(p.x[i]!, p.y[i]!, radius, 0, 2 * Math.PI);
    ctx.fill();
  }
}

function isolated({ y }: Places, i: number): boolean {
  const none = (k: number): boolean => k < 0 || k >= y.length || Number.isNaN(y[k]!);
  return !none(i) && none(i - 1) && none(i + 1);
}

/** Several points at one place have no length to be stroked. */
function standsStill({ x, y }: Places): boolean {
  const last = x.length - 1;
  return last > 0 && x[last]! - x[0]! < 0.5 && Math.abs(y[last]! - y[0]!) < 0.5;
}

/** A small triangle at the bottom edge where values stop being finite. */
function breaks(ctx: CanvasRenderingContext2D, { broken }: Places, height: number, ratio: number): void {
  for (const x of broken) {
    ctx.beginPath();
    ctx.moveTo(x, height - 6 * ratio);
    ctx.lineTo(x - 3.5 * ratio, height);
    ctx.lineTo(x + 3.5 * ratio, height);
    ctx.fill();
  }
}

let spare: OffscreenCanvas | null = null;

function paintCrowd(
  ctx: CanvasRenderingContext2D,
  { lines, view, scales }: Picture,
  frame: Frame,
  ratio: number,
  surface: Rgb,
): void {
  const width = Math.round(frame.width);
  const height = Math.round(frame.height);
  if (width < 1 || height < 1) return;
  const raster: Raster = makeRaster(width, height);
  const all = lines.map((line) => placesOf(line, view, scales, width, height));
  lines.forEach((line, i) => {
    if (line.exact && !smoothed(line)) return;
    const p = all[i]!;
    // Pale but not translucent: blending so many pixels takes three times as long, and a hundred would be mud.
    const pale = rgbOf(line.colour).map((c, k) => surface[k]! + (c - surface[k]!) * FAINT) as unknown as Rgb;
    paintLine(raster, p.x, p.raw, p.top, p.bottom, pale, ratio);
  });
  lines.forEach((line, i) => {
    const p = all[i]!;
    const colour = rgbOf(line.colour);
    paintLine(raster, p.x, p.y, p.y, p.y, colour, 1.1 * ratio);
    if (p.whole && p.x.length > 1) return;
    for (let k = 0; k < p.x.length; k++) if (isolated(p, k)) paintDot(raster, p.x[k]!, p.y[k]!, colour, 3 * ratio);
  });
  // Through a canvas of its own, since putImageData would wipe the grid below.
  spare ??= new OffscreenCanvas(1, 1);
  spare.width = width;
  spare.height = height;
  spare.getContext("2d")!.putImageData(new ImageData(pixelsOf(raster), width, height), 0, 0);
  ctx.drawImage(spare, Math.round(frame.left), Math.round(frame.top));
}

/** Upright dashed lines with a word at their head. */
export function paintMarks(ctx: CanvasRenderingContext2D, picture: Picture, frame: Frame, ink: Ink): void {
  for (const mark of picture.marks ?? []) {
    const share = fraction(mark.x, picture.view.x, picture.scales.x);
    if (!(share >= 0 && share <= 1)) continue;
    const x = Math.round(frame.left + share * frame.width) + 0.5;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = ink.text;
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([2 * devicePixelRatio, 2 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(x, frame.top);
    ctx.lineTo(x, frame.top + frame.height);
    ctx.stroke();
    ctx.font = ink.font.replace(/^(\d+)px/, (_, size: string) => `${Number(size) * devicePixelRatio}px`);
    ctx.textBaseline = "top";
    ctx.textAlign = share > 0.6 ? "right" : "left";
    ctx.fillText(mark.label, x + (share > 0.6 ? -4 : 4) * devicePixelRatio, frame.top);
    ctx.restore();
  }
}
