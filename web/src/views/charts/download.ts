/** Saves a chart as a file. */
import { csvOf } from "../../chart/csv";
import type { Ink, Picture } from "../../chart/paint";
import { svgOf } from "../../chart/svg";
import { kindOf, labelOf } from "./settings.svelte";

const WIDTH = 960;
const HEIGHT = 560;
const PNG_SCALE = 2;

function save(name: string, blob: Blob): void {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

const fileName = (metric: string, kind: string): string =>
  `${metric.replace(/[^\p{L}\p{N}._-]+/gu, "_").slice(0, 100) || "chart"}.${kind}`;

function svg(title: string, x: string, picture: Picture, ink: Ink): string {
  return svgOf(picture, { title, xLabel: labelOf(x), kind: kindOf(x), width: WIDTH, height: HEIGHT, ink });
}

export function saveCsv(metric: string, x: string, picture: Picture): void {
  save(fileName(metric, "csv"), new Blob([csvOf(metric, x, picture.lines)], { type: "text/csv" }));
}

export function saveSvg(metric: string, x: string, picture: Picture, ink: Ink): void {
  save(fileName(metric, "svg"), new Blob([svg(metric, x, picture, ink)], { type: "image/svg+xml" }));
}

/** The same picture as the SVG, drawn by the browser at twice its size. */
export async function savePng(metric: string, x: string, picture: Picture, ink: Ink): Promise<void> {
  const url = URL.createObjectURL(new Blob([svg(metric, x, picture, ink)], { type: "image/svg+xml" }));
  try {
    const image = new Image();
    image.src = url;
    await image.decode();
    const canvas = new OffscreenCanvas(image.width * PNG_SCALE, image.height * PNG_SCALE);
    canvas.getContext("2d")!.drawImage(image, 0, 0, canvas.width, canvas.height);
    save(fileName(metric, "png"), await canvas.convertToBlob({ type: "image/png" }));
  } finally {
    URL.revokeObjectURL(url);
  }
}
