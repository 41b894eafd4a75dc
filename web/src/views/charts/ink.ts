import type { Ink } from "../../chart/paint";
import type { ThemeName } from "../../chart/colour";

const seen = new Map<ThemeName, Ink>();

/** The page's own colours for what canvases draw; asked of the style sheet once a theme. */
export function inkOf(theme: ThemeName): Ink {
  const known = seen.get(theme);
  if (known) return known;
  const style = getComputedStyle(document.documentElement);
  const get = (name: string): string => style.getPropertyValue(name).trim();
  const font = `11px ${get("--font") || "sans-serif"}`;
  const ink = { text: get("--muted"), grid: get("--line"), surface: get("--surface"), font };
  seen.set(theme, ink);
  return ink;
}
