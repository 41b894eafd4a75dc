/** Where the pointer or the keyboard's cursor is, shared by all charts of a panel. */
export class SharedHover {
  /** null: nowhere. `id` is the experiment or group that stands out, `source` the chart the pointer is over. */
  at: { x: number; id: string | null; source: string } | null = $state.raw(null);
  #frame = 0;

  /** At most once a frame, however often the pointer moves. */
  set = (at: { x: number; id: string | null; source: string } | null): void => {
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => (this.at = at));
  };
}
