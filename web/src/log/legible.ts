/** Colours that a program chose for a black terminal, made legible on the page's own ground. */
export type Rgb = readonly [number, number, number];

/** Contrast that text of this size needs. */
const needed = 4.5;

function luminance([r, g, b]: Rgb): number {
  const part = (v: number): number => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
  return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
}

/** Contrast of two colours, 1 to 21. Source: WCAG 2.2, "contrast ratio". */
export function contrast(a: Rgb, b: Rgb): number {
  const [dark, light] = [luminance(a), luminance(b)].sort((p, q) => p - q) as [number, number];
  return (light + 0.05) / (dark + 0.05);
}

/** The colour, moved towards black on a light ground and towards white on a dark one, as far as it has to be. */
export function legible(colour: Rgb, ground: Rgb): Rgb {
  const towards = luminance(ground) > 0.18 ? 0 : 255;
  for (let share = 0; share < 1; share += 0.05) {
    const mixed = colour.map((v) => Math.round(v + (towards - v) * share)) as unknown as Rgb;
    if (contrast(mixed, ground) >= needed) return mixed;
  }
  return [towards, towards, towards];
}

export function css([r, g, b]: Rgb): string {
  return `rgb(${r} ${g} ${b})`;
}
