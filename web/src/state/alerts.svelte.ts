import { badge } from "../alerts/filter";
import { navigate, router } from "../router/router.svelte";
import { experimentPath } from "../router/routes";
import { getJson } from "../wire/api";
import type { Alert } from "../wire/types";
import { live } from "./live.svelte";
import { toasts } from "./toasts.svelte";

const place = "frameworm.alerts.seen";
const most = 100;

/** How many alerts came since the page of alerts was last looked at. */
class AlertNews {
  #count = $state(0);

  get count(): number {
    return this.#count;
  }

  get text(): string {
    return badge(this.#count);
  }

  /** Counts from now on, and tells of each alert that comes; returns what ends it. */
  start = (): (() => void) => {
    void this.#load();
    return live.onAlert((alert) => {
      if (router.current.name === "alerts") return;
      this.#count++;
      toasts.show(`${alert.level}: ${alert.title} (${alert.experiment_id} ${alert.name})`, {
        kind: alert.level === "error" ? "bad" : "info",
        action: { label: "Show", run: () => navigate(experimentPath(alert.experiment_id)) },
      });
    });
  };

  /** All up to the newest of these have been seen. */
  see = (alerts: readonly Alert[]): void => {
    this.#count = 0;
    const newest = Math.max(this.seen(), ...alerts.slice(0, 1).map((alert) => alert.time_ms));
    try {
      localStorage.setItem(place, String(newest));
    } catch {
      // A browser that keeps nothing counts anew each time.
    }
  };

  /** When the newest alert that was looked at was raised, in Unix ms; 0 before the first. */
  seen(): number {
    try {
      return Number(localStorage.getItem(place)) || 0;
    } catch {
      return 0;
    }
  }

  async #load(): Promise<void> {
    try {
      const since = this.seen();
      const { alerts } = await getJson<{ alerts: Alert[] }>("/alerts", { since: since ? since + 1 : 0, limit: most });
      if (router.current.name !== "alerts") this.#count = alerts.length;
    } catch {
      // No badge, then: whatever is wrong is told by the pages.
    }
  }
}

export const news = new AlertNews();
