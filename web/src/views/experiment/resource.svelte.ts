import { untrack } from "svelte";
import { live } from "../../state/live.svelte";
import { isAbort } from "../../wire/api";

type Load<T> = (signal: AbortSignal) => Promise<T>;

/** What is being fetched: what was there before stays until the new is. */
export interface Resource<T> {
  readonly data: T | null;
  readonly error: unknown;
  readonly busy: boolean;
  reload: () => void;
}

/**
 * Fetches while a component is shown, and again whenever what `ask` reads has changed.
 *
 * @param ask gives what to do; null for nothing yet. Answers of another `key` are forgotten at once.
 * @param key names what is asked for, such as an experiment's id
 */
export function resource<T>(ask: () => Load<T> | null, key: () => string = () => ""): Resource<T> {
  let data: T | null = $state.raw(null);
  let error: unknown = $state.raw(null);
  let busy = $state(true);
  let round = $state(0);
  let shown = "";

  $effect(() => {
    const name = key();
    const load = ask();
    void round;
    if (name !== shown) untrack(() => ([data, error] = [null, null]));
    shown = name;
    if (load === null) return;
    const control = new AbortController();
    busy = true;
    load(control.signal)
      .then((found) => ([data, error] = [found, null]))
      .catch((failure: unknown) => {
        if (!isAbort(failure)) error = failure;
      })
      .finally(() => {
        if (!control.signal.aborted) busy = false;
      });
    return () => control.abort();
  });

  return {
    get data() {
      return data;
    },
    get error() {
      return error;
    },
    get busy() {
      return busy;
    },
    reload: () => round++,
  };
}

/** Calls back when one of these experiments changed, at most once a second. To be called as a component starts. */
export function onLive(ids: () => readonly string[], changed: () => void): void {
  $effect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const end = live.onChanged((which, change) => {
      const mine = untrack(ids);
      if (!change.more && !which.some((id) => mine.includes(id))) return;
      timer ??= setTimeout(() => {
        timer = undefined;
        changed();
      }, 1000);
    });
    return () => {
      end();
      clearTimeout(timer);
    };
  });
}
