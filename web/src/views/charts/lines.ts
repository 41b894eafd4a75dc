/** From what was fetched to the lines of a chart: who has which colour, dash and name. */
import { colourOf, DASHES, dashesOf, PALETTE, type ThemeName } from "../../chart/colour";
import { lineOf, type Line } from "../../chart/series";
import type { Smoothing } from "../../chart/smooth";
import type { Band, Points } from "../../wire/points";
import type { Group } from "./people.svelte";

export interface Look {
  theme: ThemeName;
  /** Looked into as a name is shown. */
  people: { readonly names: ReadonlyMap<string, string> };
  smoothing: Smoothing;
  strength: number;
}

/** Lines of experiments; the dash tells contexts apart if there are several, else experiments of one colour. */
export function linesOf(points: readonly Points[], whole: readonly Points[], look: Look): Line[] {
  const contexts = contextsOf(points);
  const dashes = contexts.length > 1 ? null : dashesOf(points.map((p) => p.id));
  const original = new Map(whole.map((p) => [`${p.id}\n${p.context}`, p]));
  return points.map((p) => {
    const style = {
      get label() {
        const name = look.people.names.get(p.id);
        return name && name !== p.id ? `${p.id} ${name}` : p.id;
      },
      colour: colourOf(p.id, look.theme),
      dash: dashes?.get(p.id) ?? DASHES[contexts.indexOf(p.context) % DASHES.length] ?? [],
    };
    return lineOf(p, original.get(`${p.id}\n${p.context}`) ?? p, style, look.smoothing, look.strength);
  });
}

/** Contexts in the order of their dashes: the default and `train` have the plain line. */
export function contextsOf(points: readonly { context: string }[]): string[] {
  const rank = (c: string): number => (c === "" ? 0 : c === "train" ? 1 : 2);
  return [...new Set(points.map((p) => p.context))].sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
}

/** Means of groups with their bands. */
export function linesOfBands(bands: readonly Band[], groups: readonly Group[], by: string, theme: ThemeName): Line[] {
  const palette = PALETTE[theme];
  return bands.map((band): Line => {
    const id = `group ${band.group}`;
    // Where only one member has a value there is a mean but no band: the band closes on the line.
    const or = (edge: Float64Array): Float64Array => edge.map((v, i) => (Number.isNaN(v) ? band.mean[i]! : v));
    return {
      key: id,
      id,
      label: `${by.replace(/^config\./, "")} = ${groups[band.group]?.key ?? "?"} (n = ${band.members})`,
      context: "",
      colour: palette[band.group % palette.length]!,
      dash: DASHES[Math.floor(band.group / palette.length) % DASHES.length]!,
      x: band.x,
      y: band.mean,
      raw: band.mean,
      low: or(band.low),
      high: or(band.high),
      exact: false,
      band: true,
    };
  });
}
