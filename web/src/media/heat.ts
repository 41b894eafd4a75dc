/** Colours of a heat map: one hue, from the page's own ground for nothing to the strongest ink for the most. */
import type { ThemeName } from "../chart/colour";

type Rgb = readonly [number, number, number];

const stops: Record<ThemeName, readonly Rgb[]> = {
  light: [
    [255, 255, 255],
    [178, 196, 246],
    [74, 112, 222],
    [24, 42, 120],
  ],
  dark: [
    [21, 25, 31],
    [38, 58, 122],
    [96, 136, 240],
    [222, 232, 255],
  ],
};

/** The colour of a share, where `most` has the strongest. By the root, so that thin tails are seen too. */
export function heatColour(share: number, most: number, theme: ThemeName): Rgb {
  const of = stops[theme];
  if (!(share > 0 && most > 0)) return of[0]!;
  const at = Math.sqrt(Math.min(1, share / most)) * (of.length - 1);
  const from = Math.min(of.length - 2, Math.floor(at));
  const [a, b] = [of[from]!, of[from + 1]!];
  return [0, 1, 2].map((i) => Math.round(a[i]! + (b[i]! - a[i]!) * (at - from))) as unknown as Rgb;
}
