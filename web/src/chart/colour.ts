/**
 * Colours and dashes of lines.
 *
 * Twelve colours a theme, found by search: any two differ by at least 0.077 in OKLab (Ottosson 2020) as seen with
 * normal colour vision and simulated protanopia, deuteranopia and tritanopia (Machado, Oliveira & Fernandes 2009,
 * severity 1), and each has a contrast of at least 3 on its background.
 */

export type ThemeName = "light" | "dark";

export const PALETTE: Record<ThemeName, readonly string[]> = {
  light: [
    ["#2a59ae", "#e57301", "#028288", "#b85166", "#5e6d29", "#4e97d9"],
    ["#7b0b32", "#370993", "#819a65", "#db0002", "#865df1", "#014b6a"],
  ].flat(),
  dark: [
    ["#1ca1ce", "#e39e6b", "#67c6b5", "#d96dae", "#e6d08c", "#89e2fc"],
    ["#bd534d", "#8b66f5", "#abd814", "#f16219", "#c6a2fe", "#309182"],
  ].flat(),
};

/** Lengths of ink and gap in CSS pixels; the first is a plain line. */
export const DASHES: readonly number[][] = [[], [7, 4], [2, 3], [10, 3, 2, 3], [4, 2, 1, 2, 1, 2]];

/**
 * Place of an experiment in the palette: its number, so that neighbours differ and a colour never changes with what
 * else is shown; any other key by its FNV-1a hash.
 */
export function placeOf(key: string): number {
  const number = /^exp_(\d+)$/.exec(key)?.[1];
  if (number !== undefined) return Math.max(0, Number(number) - 1);
  let hash = 0x811c9dc5;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193) >>> 0;
  return hash;
}

/** The colour of an experiment (by its id, `exp_001`) or of another key. */
export function colourOf(key: string, theme: ThemeName): string {
  const palette = PALETTE[theme];
  return palette[placeOf(key) % palette.length]!;
}

/** A dash for each key: plain, except for keys whose colour another one before them already has. */
export function dashesOf(keys: readonly string[]): Map<string, number[]> {
  const seen = new Map<number, number>();
  const out = new Map<string, number[]>();
  for (const key of [...new Set(keys)].sort((a, b) => placeOf(a) - placeOf(b))) {
    const colour = placeOf(key) % PALETTE.light.length;
    const before = seen.get(colour) ?? 0;
    seen.set(colour, before + 1);
    out.set(key, DASHES[before % DASHES.length]!);
  }
  return out;
}

/** `#rrggbb`, or `#rgb` as style sheets are shortened to, as three numbers of 0 to 255. */
export function rgbOf(colour: string): [number, number, number] {
  const digits = colour.slice(1);
  const n = parseInt(digits.length === 3 ? digits.replace(/./g, "$&$&") : digits, 16);
  return [(n >> 16) & 255, (n >> 8) & 255, n & 255];
}
