/**
 * What shows the hovered place above a chart, while the lines below stay. The upright line and the dots are moved
 * by transforms; the canvas, which makes one experiment stand out, is drawn only when that is another one.
 */
import { paint, type Ink, type Picture } from "./paint";
import { valueOf } from "./project";
import { fraction } from "./range";

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

/** With at most so many lines each gets a dot at the hovered place, else only the one that stands out. */
const DOTS = 6;
/** Charts that only follow another one make an experiment stand out when the pointer rests so long. */
const REST_MS = 70;

export class Overlay {
  #box = document.createElement("div");
  #canvas = document.createElement("canvas");
  #cross = document.createElement("div");
  #dots: HTMLElement[] = [];
  #laid = "";
  #shown: { picture: Picture; id: string; laid: string } | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(over: HTMLElement) {
    this.#box.className = "overlay";
    this.#cross.className = "cross";
    this.#box.hidden = true;
    this.#box.append(this.#canvas, this.#cross);
    over.before(this.#box);
  }

  /** @param follows the pointer is over another chart */
  draw(picture: Picture | null, hover: Hover | null, place: Place, ink: Ink, follows: boolean): void {
    clearTimeout(this.#timer);
    const shown = picture !== null && hover !== null && place.width > 0 && place.height > 0;
    if (this.#box.hidden === shown) this.#box.hidden = !shown;
    if (!shown) return;
    this.#lay(place);
    this.#move(picture, hover, place);
    const redraw = (): void => this.#highlight(picture, hover.id, place, ink);
    if (follows && this.#shown?.picture === picture) this.#timer = setTimeout(redraw, REST_MS);
    else redraw();
  }

  destroy(): void {
    clearTimeout(this.#timer);
  }

  /** Only if it changed: with many charts, each touched layout would be laid out anew at every move. */
  #lay(place: Place): void {
    const text = `${devicePixelRatio} ${place.left} ${place.top} ${place.width} ${place.height}`;
    if (text === this.#laid) return;
    this.#laid = text;
    this.#canvas.width = Math.round(place.width * devicePixelRatio);
    this.#canvas.height = Math.round(place.height * devicePixelRatio);
    for (const key of ["left", "top", "width", "height"] as const) this.#box.style[key] = `${place[key]}px`;
  }

  #highlight(picture: Picture, id: string | null, place: Place, ink: Ink): void {
    const lines = id === null ? [] : picture.lines.filter((l) => l.id === id);
    const stands = id !== null && lines.length > 0 && lines.length < picture.lines.length;
    if (!stands && this.#shown === null) return;
    if (this.#shown?.id === id && this.#shown?.picture === picture && this.#shown.laid === this.#laid) return;
    const ctx = this.#canvas.getContext("2d")!;
    const { width, height } = this.#canvas;
    ctx.clearRect(0, 0, width, height);
    this.#shown = stands ? { picture, id, laid: this.#laid } : null;
    if (!stands) return;
    ctx.globalAlpha = 0.7;
    ctx.fillStyle = ink.surface;
    ctx.fillRect(0, 0, width, height);
    ctx.globalAlpha = 1;
    const ratio = width / place.width;
    paint(ctx, { ...picture, lines }, { left: 0, top: 0, width, height }, ratio, ink.surface);
  }

  #move({ lines, view, scales }: Picture, { x, id }: Hover, { width, height }: Place): void {
    const share = fraction(x, view.x, scales.x);
    const inside = share >= 0 && share <= 1;
    if (this.#cross.hidden === inside) this.#cross.hidden = !inside;
    if (inside) this.#cross.style.transform = `translateX(${share * width}px)`;
    const chosen = lines.filter((l) => l.id === id);
    const wanted = !inside ? [] : chosen.length ? chosen : lines.length <= DOTS ? lines : [];
    let used = 0;
    for (const line of wanted) {
      const y = 1 - fraction(valueOf(line, line.y, x, scales.x), view.y, scales.y);
      if (!(y >= 0 && y <= 1)) continue;
      const dot = (this.#dots[used] ??= this.#box.appendChild(document.createElement("div")));
      used++;
      dot.className = "dot";
      dot.hidden = false;
      dot.style.background = line.colour;
      dot.style.transform = `translate(${share * width}px, ${y * height}px)`;
    }
    for (const dot of this.#dots.slice(used)) dot.hidden = true;
  }
}
