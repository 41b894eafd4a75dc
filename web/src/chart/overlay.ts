/** A canvas above a chart that shows the hovered place: redrawn at each move, while the lines below stay. */
import { paint, type Picture } from "./paint";
import { valueOf } from "./project";
import { fraction } from "./range";
import type { Line } from "./series";

export interface Hover {
  x: number;
  /** The experiment or group that stands out; null for none. */
  id: string | null;
}

/** Where the overlay lies, in CSS pixels of the chart. */
export interface Place {
  left: number;
  top: number;
  width: number;
  height: number;
}

export class Overlay {
  #canvas = document.createElement("canvas");
  #laid = "";

  constructor(over: HTMLElement) {
    this.#canvas.className = "overlay";
    this.#canvas.hidden = true;
    over.before(this.#canvas);
  }

  draw(picture: Picture | null, hover: Hover | null, place: Place, veil: string, ink: string): void {
    const ratio = devicePixelRatio;
    const { width, height } = place;
    const shown = picture !== null && hover !== null && width > 0 && height > 0;
    if (this.#canvas.hidden === shown) this.#canvas.hidden = !shown;
    if (!shown) return;
    this.#lay(place, ratio);
    const ctx = this.#canvas.getContext("2d")!;
    ctx.resetTransform();
    ctx.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    const lines = picture.lines.filter((l) => l.id === hover.id);
    if (lines.length && lines.length < picture.lines.length) {
      ctx.globalAlpha = 0.7;
      ctx.fillStyle = veil;
      ctx.fillRect(0, 0, width * ratio, height * ratio);
      ctx.globalAlpha = 1;
      paint(ctx, { ...picture, lines }, { left: 0, top: 0, width: width * ratio, height: height * ratio }, ratio);
    }
    const x = fraction(hover.x, picture.view.x, picture.scales.x);
    if (!(x >= 0 && x <= 1)) return;
    ctx.scale(ratio, ratio);
    ctx.strokeStyle = ink;
    ctx.globalAlpha = 0.6;
    ctx.setLineDash([3, 3]);
    ctx.beginPath();
    ctx.moveTo(x * width, 0);
    ctx.lineTo(x * width, height);
    ctx.stroke();
    ctx.globalAlpha = 1;
    ctx.setLineDash([]);
    for (const line of lines.length ? lines : picture.lines.length <= 6 ? picture.lines : []) {
      this.#dot(ctx, line, picture, hover.x, x * width, height, veil);
    }
  }

  /** Only if it changed: with many charts, each touched layout would be laid out anew at every move. */
  #lay(place: Place, ratio: number): void {
    const text = `${ratio} ${place.left} ${place.top} ${place.width} ${place.height}`;
    if (text === this.#laid) return;
    this.#laid = text;
    this.#canvas.width = Math.round(place.width * ratio);
    this.#canvas.height = Math.round(place.height * ratio);
    const { style } = this.#canvas;
    style.left = `${place.left}px`;
    style.top = `${place.top}px`;
    style.width = `${place.width}px`;
    style.height = `${place.height}px`;
  }

  #dot(
    ctx: CanvasRenderingContext2D,
    line: Line,
    { view, scales }: Picture,
    at: number,
    left: number,
    height: number,
    edge: string,
  ): void {
    const y = 1 - fraction(valueOf(line, line.y, at, scales.x), view.y, scales.y);
    if (!(y >= 0 && y <= 1)) return;
    ctx.beginPath();
    ctx.arc(left, y * height, 3.5, 0, 2 * Math.PI);
    ctx.fillStyle = line.colour;
    ctx.strokeStyle = edge;
    ctx.lineWidth = 1.5;
    ctx.fill();
    ctx.stroke();
  }
}
