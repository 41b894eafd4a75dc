const gap = 4;
const margin = 8;

/** Lays a box below its anchor, or above where there is more room, inside the window. */
export function place(box: HTMLElement, anchor: HTMLElement, align: "start" | "end"): void {
  const at = anchor.getBoundingClientRect();
  const size = box.getBoundingClientRect();
  const left = align === "start" ? at.left : at.right - size.width;
  const below = innerHeight - at.bottom - gap - margin;
  const above = at.top - gap - margin;
  const under = size.height <= below || below >= above;
  const top = under ? at.bottom + gap : at.top - gap - Math.min(size.height, above);
  box.style.left = `${Math.max(margin, Math.min(left, innerWidth - size.width - margin))}px`;
  box.style.top = `${Math.max(margin, top)}px`;
}
