/** Alerts that are looked for, and how they are counted. */
import type { Alert } from "../wire/types";

export const LEVELS = ["error", "warning", "info"] as const;
export type Level = (typeof LEVELS)[number];

export interface AlertFilter {
  level: Level | null;
  /** An experiment's id. */
  experiment: string | null;
  /** Words that all stand in title, text, rule, or name or id of the experiment. */
  text: string;
}

export function levelOf(text: string | null): Level | null {
  return LEVELS.find((level) => level === text) ?? null;
}

function fits(alert: Alert, { experiment, text }: AlertFilter): boolean {
  if (experiment !== null && alert.experiment_id !== experiment) return false;
  const all = [alert.title, alert.text, alert.rule, alert.name, alert.experiment_id].join("\n").toLowerCase();
  return text
    .toLowerCase()
    .split(/\s+/)
    .every((word) => all.includes(word));
}

/** The alerts that fit, and how many of those that fit but for the level there are of each. */
export function filtered(alerts: readonly Alert[], by: AlertFilter): { shown: Alert[]; counts: Record<Level, number> } {
  const found = alerts.filter((alert) => fits(alert, by));
  const counts = { error: 0, warning: 0, info: 0 };
  for (const alert of found) counts[alert.level]++;
  return { shown: found.filter((alert) => by.level === null || alert.level === by.level), counts };
}

/** Names an alert for good: what could not be written has a rule, and no place. */
export function keyOf(alert: Alert): string {
  return `${alert.experiment_id} ${alert.position} ${alert.position < 0 ? alert.rule : ""}`;
}

export interface Day {
  day: string;
  alerts: Alert[];
}

/** Alerts, newest first, put together by days. */
export function byDay(alerts: readonly Alert[], dayOf: (ms: number) => string): Day[] {
  const days: Day[] = [];
  for (const alert of alerts) {
    const day = dayOf(alert.time_ms);
    if (days.at(-1)?.day === day) days.at(-1)!.alerts.push(alert);
    else days.push({ day, alerts: [alert] });
  }
  return days;
}

/** A count on a badge. */
export function badge(count: number): string {
  return count > 99 ? "99+" : String(count);
}
