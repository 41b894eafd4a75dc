import { createSubscriber } from "svelte/reactivity";

const subscribe = createSubscriber((update) => {
  const timer = setInterval(update, 1000);
  return () => clearInterval(timer);
});

/** The time that ages are told by; it moves on every second while somebody reads it. */
export const clock = {
  get now(): number {
    subscribe();
    return Date.now();
  },
};
