import { MediaQuery } from "svelte/reactivity";

const dark = new MediaQuery("prefers-color-scheme: dark");
const narrow = new MediaQuery("max-width: 640px");
const still = new MediaQuery("prefers-reduced-motion: reduce");

/** What the system asks for; reading one of these in a template or an effect follows it. */
export const theme = {
  get name(): "light" | "dark" {
    return dark.current ? "dark" : "light";
  },
  get dark(): boolean {
    return dark.current;
  },
  /** A phone's width. */
  get narrow(): boolean {
    return narrow.current;
  },
  get still(): boolean {
    return still.current;
  },
};
