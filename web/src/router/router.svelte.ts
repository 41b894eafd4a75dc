import { routeOf, type Route } from "./routes";

class Router {
  #current: Route = $state.raw(routeOf(here()));
  #leaving = new Set<() => void>();
  #moved = new Set<() => void>();
  #home = $state(routeOf(here()).name === "experiments" ? here() : "/");

  /** The route that is shown. */
  get current(): Route {
    return this.#current;
  }

  /** The address at which the table of experiments was shown last. */
  get home(): string {
    return this.#home;
  }

  /** Calls back before another page takes the place of the one that is shown; returns what ends it. */
  beforeLeaving = (handler: () => void): (() => void) => {
    this.#leaving.add(handler);
    return () => this.#leaving.delete(handler);
  };

  /** Calls back at once when the address changes, before the page is put up for it; returns what ends it. */
  onMoved = (handler: () => void): (() => void) => {
    this.#moved.add(handler);
    return () => this.#moved.delete(handler);
  };

  /** Goes to an address of the page; `replace` leaves no step for the back button. */
  navigate = (address: string, options: { replace?: boolean } = {}): void => {
    if (routeOf(address).path !== this.#current.path) for (const handler of this.#leaving) handler();
    if (address !== here()) history[options.replace === true ? "replaceState" : "pushState"](null, "", address);
    this.#show();
  };

  #show(): void {
    this.#current = routeOf(here());
    if (this.#current.name === "experiments") this.#home = here();
    for (const handler of this.#moved) handler();
  }

  /** Sets keys of the query (null takes one away) and leaves the others. */
  setQuery = (changes: Record<string, string | null>, options: { replace?: boolean } = {}): void => {
    const url = new URL(location.href);
    for (const [key, value] of Object.entries(changes)) {
      if (value === null || value === "") url.searchParams.delete(key);
      else url.searchParams.set(key, value);
    }
    this.navigate(url.pathname + url.search, options);
  };

  /** Follows the browser's back and forward, and plain clicks on links of the page. Returns what ends it. */
  start = (): (() => void) => {
    const moved = () => this.#show();
    const clicked = (event: MouseEvent) => {
      if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey) return;
      if (event.shiftKey || event.altKey) return;
      const link = (event.target as Element | null)?.closest?.("a");
      if (!link || link.target !== "" || link.hasAttribute("download") || link.origin !== location.origin) return;
      if (link.pathname.startsWith("/api/")) return;
      event.preventDefault();
      this.navigate(link.pathname + link.search);
    };
    addEventListener("popstate", moved);
    document.addEventListener("click", clicked);
    return () => {
      removeEventListener("popstate", moved);
      document.removeEventListener("click", clicked);
    };
  };
}

function here(): string {
  return typeof location === "undefined" ? "/" : location.pathname + location.search;
}

export const router = new Router();
export const navigate = router.navigate;
