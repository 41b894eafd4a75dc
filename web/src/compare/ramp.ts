/** A ramp of colours that grows evenly lighter or darker, for a third quantity; safe for all kinds of colour sight. */
type Rgb = readonly [number, number, number];

const light: readonly Rgb[] = [
  [191, 160, 28],
  [93, 146, 88],
  [33, 122, 132],
  [52, 84, 138],
  [68, 30, 102],
];
const dark: readonly Rgb[] = [
  [108, 92, 190],
  [62, 130, 190],
  [54, 168, 150],
  [140, 200, 90],
  [250, 226, 90],
];

/** The colour at a place of the ramp, 0 to 1. */
export function rampColour(place: number, theme: "light" | "dark"): string {
  const stops = theme === "dark" ? dark : light;
  const at = Math.min(1, Math.max(0, place)) * (stops.length - 1);
  const from = Math.min(stops.length - 2, Math.floor(at));
  const share = at - from;
  const [a, b] = [stops[from]!, stops[from + 1]!];
  return `rgb(${a.map((v, i) => Math.round(v + (b[i]! - v) * share)).join(" ")})`;
}
