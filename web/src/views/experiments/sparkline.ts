/** The path of a small chart of `width` by `height`; gaps where a value is missing or not finite. */
export function sparkPath(values: readonly (number | null)[], width: number, height: number): string {
  const finite = values.filter((value): value is number => value !== null && Number.isFinite(value));
  if (finite.length === 0) return "";
  const low = Math.min(...finite);
  const span = Math.max(...finite) - low;
  const step = values.length > 1 ? width / (values.length - 1) : 0;
  const place = (value: number) => (span === 0 ? height / 2 : height - ((value - low) / span) * height);
  let path = "";
  let open = false;
  values.forEach((value, index) => {
    const here = value !== null && Number.isFinite(value);
    if (here) path += `${open ? "L" : "M"}${short(index * step)} ${short(place(value))}`;
    if (here && !open && !Number.isFinite(values[index + 1] ?? NaN)) path += "h.01";
    open = here;
  });
  return path;
}

function short(value: number): string {
  return String(Math.round(value * 10) / 10);
}
