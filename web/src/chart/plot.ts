/**
 * One chart on a canvas. uPlot lays out the axes, the grid and the selection; its scales always run from 0 to 1,
 * what they stand for (linear, log, time; any magnitude) is decided here and in `range`. Lines are drawn by `paint`.
 */
import uPlot from "uplot";
import type { XKind } from "./format";
import { Overlay, type Hover, type Place } from "./overlay";
import { paint, paintMarks, type Frame, type Ink, type Picture } from "./paint";
import { fraction, panned, valueAt, zoomed, type Range } from "./range";
import { ticks, type Tick } from "./ticks";

export interface Window {
  x: Range | null;
  /** null: as the lines in view need. */
  y: Range | null;
}

export interface PlotEvents {
  /** The pointer is over a place of the plane, or has left. `y` is in pixels from the top edge. */
  hover: (at: { x: number; y: number } | null) => void;
  zoom: (to: Window) => void;
  reset: () => void;
}

let ruler: OffscreenCanvasRenderingContext2D | null = null;
const MOST_TICKS = 12;
const X_SPACE = { number: 48, relative: 58, time: 58 };
const Y_SPACE = 34;

export class Plot {
  #u: uPlot;
  #overlay: Overlay;
  #picture: Picture | null = null;
  #kind: XKind = "number";
  #ticks: { x: Tick[]; y: Tick[] } = { x: [], y: [] };
  #ink: Ink;
  #events: PlotEvents;

  constructor(host: HTMLElement, width: number, height: number, ink: Ink, events: PlotEvents) {
    this.#ink = ink;
    this.#events = events;
    this.#u = new uPlot(this.#options(width, height), [[0, 1], [null, null] as unknown as number[]], host);
    this.#overlay = new Overlay(this.#u.over);
    this.#u.over.addEventListener("wheel", this.#wheel, { passive: false });
  }

  /** The part of the chart that shows data, in CSS pixels; known without asking for a layout. */
  get place(): Place {
    const { left, top, width, height } = this.#u.bbox;
    const ratio = uPlot.pxRatio;
    return { left: left / ratio, top: top / ratio, width: width / ratio, height: height / ratio };
  }

  /** The box of the part that shows data, on the page. */
  get box(): DOMRect {
    return this.#u.over.getBoundingClientRect();
  }

  draw(picture: Picture | null, kind: XKind): void {
    this.#picture = picture;
    this.#kind = kind;
    this.#u.redraw(false, true);
  }

  recolour(ink: Ink): void {
    this.#ink = ink;
    this.#u.redraw(false, true);
  }

  resize(width: number, height: number): void {
    this.#u.setSize({ width, height });
  }

  /** Shows a place under the pointer, which is over this chart or, if it `follows`, over another one. */
  hover(hover: Hover | null, follows: boolean): void {
    this.#overlay.draw(this.#picture, hover, this.place, this.#ink, follows);
  }

  destroy(): void {
    this.#u.over.removeEventListener("wheel", this.#wheel);
    this.#overlay.destroy();
    this.#u.destroy();
  }

  #options(width: number, height: number): uPlot.Options {
    const axis = (which: "x" | "y"): uPlot.Axis => ({
      scale: which,
      font: this.#ink.font,
      stroke: () => this.#ink.text,
      grid: { stroke: () => this.#ink.grid, width: 1 },
      ticks: { show: false },
      gap: 6,
      // One increment that always passes: the splits are ours.
      incrs: [5],
      filter: (_u, splits) => splits,
      splits: (u) => this.#split(u, which),
      values: () => this.#ticks[which].map((t) => t.label),
    });
    return {
      width,
      height,
      padding: [8, 20, 0, 0],
      legend: { show: false },
      cursor: {
        x: false,
        y: false,
        points: { show: false },
        drag: { x: true, y: true, uni: 24, dist: 4, setScale: false },
        bind: {
          mousedown: (u, _target, handler) => (event) => {
            if (event.shiftKey && event.button === 0) this.#pan(u, event);
            else handler(event);
            return null;
          },
          dblclick: () => () => {
            this.#events.reset();
            return null;
          },
        },
      },
      scales: {
        x: { time: false, auto: false, range: () => [0, 1] },
        y: { auto: false, range: () => [0, 1] },
      },
      series: [{}, { paths: () => null, points: { show: false } }],
      axes: [
        { ...axis("x"), size: 26 },
        { ...axis("y"), size: (_u, labels) => this.#room(labels) },
      ],
      hooks: {
        draw: [(u) => this.#paint(u)],
        setSelect: [(u) => this.#select(u)],
        setCursor: [(u) => this.#point(u)],
      },
    };
  }

  #split(u: uPlot, which: "x" | "y"): number[] {
    const p = this.#picture;
    if (!p) return (this.#ticks[which] = []) as number[];
    const room = which === "x" ? u.width - 60 : u.height - 40;
    const kind = which === "x" ? this.#kind : "number";
    const most = Math.max(2, Math.min(MOST_TICKS, Math.floor(room / (which === "x" ? X_SPACE[kind] : Y_SPACE))));
    this.#ticks[which] = ticks(p.view[which], p.scales[which], kind, most);
    return this.#ticks[which].map((t) => fraction(t.value, p.view[which], p.scales[which]));
  }

  /** Width of the value axis: what its labels need, in steps, so that small changes do not move the plot. */
  #room(labels: string[] | null): number {
    if (!labels?.length) return 44;
    // On a canvas of its own: uPlot remembers what font it has set on the chart's.
    ruler ??= new OffscreenCanvas(1, 1).getContext("2d")!;
    ruler.font = this.#ink.font;
    const widest = Math.max(...labels.map((label) => ruler!.measureText(label).width));
    return Math.max(44, Math.ceil((widest + 14) / 8) * 8);
  }

  #paint(u: uPlot): void {
    if (!this.#picture) return;
    paint(u.ctx, this.#picture, u.bbox as Frame, devicePixelRatio, this.#ink.surface);
    paintMarks(u.ctx, this.#picture, u.bbox as Frame, this.#ink);
  }

  #range(which: "x" | "y", from: number, to: number): Range {
    const p = this.#picture!;
    const at = (share: number): number => valueAt(share, p.view[which], p.scales[which]);
    return [at(Math.max(0, Math.min(from, to))), at(Math.min(1, Math.max(from, to)))];
  }

  #select(u: uPlot): void {
    const { left, top, width, height } = u.select;
    const size = this.place;
    if (width <= 0 || height <= 0 || !this.#picture) return;
    const x: Range | null =
      width >= size.width ? null : this.#range("x", left / size.width, (left + width) / size.width);
    const y: Range | null =
      height >= size.height ? null : this.#range("y", 1 - (top + height) / size.height, 1 - top / size.height);
    u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    if (x || y) this.#events.zoom({ x: x ?? this.#picture.view.x, y });
  }

  #point(u: uPlot): void {
    const { left, top } = u.cursor;
    if (left === undefined || top === undefined || left < 0 || !this.#picture) return this.#events.hover(null);
    this.#events.hover({ x: valueAt(left / this.place.width, this.#picture.view.x, this.#picture.scales.x), y: top });
  }

  #pan(u: uPlot, event: MouseEvent): void {
    if (!this.#picture) return;
    const { view, scales } = this.#picture;
    const size = this.place;
    const move = (e: MouseEvent): void => {
      this.#events.zoom({
        x: panned(view.x, scales.x, (event.clientX - e.clientX) / size.width),
        y: panned(view.y, scales.y, (e.clientY - event.clientY) / size.height),
      });
    };
    const end = (): void => {
      removeEventListener("mousemove", move);
      removeEventListener("mouseup", end);
      u.over.classList.remove("panning");
    };
    event.preventDefault();
    u.over.classList.add("panning");
    addEventListener("mousemove", move);
    addEventListener("mouseup", end);
  }

  /** Ctrl, ⌘ or Alt and the wheel zoom along x around the pointer; shift and the wheel move. A plain wheel scrolls the page. */
  #wheel = (event: WheelEvent): void => {
    if (!this.#picture || !(event.ctrlKey || event.metaKey || event.altKey || event.shiftKey)) return;
    event.preventDefault();
    const { view, scales } = this.#picture;
    const amount = (event.deltaY || event.deltaX) / 500;
    if (event.shiftKey) return this.#events.zoom({ x: panned(view.x, scales.x, amount), y: null });
    const around = (event.clientX - this.box.left) / this.place.width;
    this.#events.zoom({ x: zoomed(view.x, scales.x, Math.exp(amount), around), y: null });
  };
}
