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

export class Overlay {
  #canvas = document.createElement("canvas");

  constructor(over: HTMLElement) {
    this.#canvas.className = "overlay";
    over.before(this.#canvas);
  }

  draw(picture: Picture | null, hover: Hover | null, veil: string, ink: string): void {
    const ratio = devicePixelRatio;
    const over = this.#canvas.nextElementSibling as HTMLElement;
    const width = over.clientWidth;
    const height = over.clientHeight;
    const shown = picture !== null && hover !== null;
    this.#canvas.hidden = !shown;
    if (!shown || width === 0 || height === 0) return;
    this.#canvas.width = width * ratio;
    this.#canvas.height = height * ratio;
    Object.assign(this.#canvas.style, {
      left: over.style.left,
      top: over.style.top,
      width: `${width}px`,
      height: `${height}px`,
    });
    const ctx = this.#canvas.getContext("2d")!;
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
