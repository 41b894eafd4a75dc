/** Charts in words, for those who do not see them. */
import { formatWhole } from "../../ui/format";
import { formatNumber, formatX, type XKind } from "../../chart/format";
import type { Picture } from "../../chart/paint";

const plural = (n: number, one: string): string => `${formatWhole(n)} ${one}${n === 1 ? "" : "s"}`;

export function summaryOf(metric: string, xLabel: string, kind: XKind, picture: Picture | null): string {
  if (!picture) return `${metric}: nothing to show yet`;
  const { lines, view } = picture;
  const [from, to] = view.x.map((v) => formatX(v, kind));
  const [low, high] = view.y.map((v) => formatNumber(v, 3));
  return `${metric}: ${plural(lines.length, "line")}, ${xLabel} ${from} to ${to}, values ${low} to ${high}. Arrow keys read values, plus and minus zoom, 0 resets.`;
}

export function warningOf(
  hidden: { nonFinite: number; notPositive: number },
  damaged: Readonly<Record<string, string>>,
): string {
  const told = [];
  if (hidden.nonFinite)
    told.push(`${plural(hidden.nonFinite, "drawn point")} NaN or infinite, marked at the lower edge`);
  if (hidden.notPositive)
    told.push(`${plural(hidden.notPositive, "drawn point")} at or below 0, which a log scale cannot show`);
  for (const [id, message] of Object.entries(damaged)) told.push(`${id}: ${message}`);
  return told.join("\n");
}
