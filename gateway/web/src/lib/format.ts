// Money, ways and times for people. Money is never a floating-point number: its digits are placed.

import type { Money } from "./types";

const decimals = (currency: string) =>
  new Intl.NumberFormat("en", { style: "currency", currency }).resolvedOptions().maximumFractionDigits ?? 2;

/** An amount as people write it. */
export function money(amount: Money | undefined): string {
  if (!amount?.currencyCode) return "";
  const places = decimals(amount.currencyCode);
  const minor = BigInt(amount.minorUnits || "0");
  const digits = (minor < 0n ? -minor : minor).toString().padStart(places + 1, "0");
  const whole = digits.slice(0, digits.length - places);
  const part = places ? `.${digits.slice(-places)}` : "";
  const exact = `${minor < 0n ? "-" : ""}${whole}${part}`;
  const format = new Intl.NumberFormat(undefined, { style: "currency", currency: amount.currencyCode });
  return format.format(exact as Intl.StringNumericLiteral);
}

export const isZero = (amount: Money | undefined) => !amount || BigInt(amount.minorUnits || "0") === 0n;

export const plus = (a: Money, b: Money): Money => ({
  currencyCode: a.currencyCode,
  minorUnits: (BigInt(a.minorUnits) + BigInt(b.minorUnits)).toString(),
});

export const minus = (a: Money, b: Money): Money => ({
  currencyCode: a.currencyCode,
  minorUnits: (BigInt(a.minorUnits) - BigInt(b.minorUnits)).toString(),
});

/** Minutes, rounded up: nobody was ever pleased by a car that came late. */
export function minutes(ms: string | number | undefined): string {
  if (ms === undefined) return "";
  const whole = Math.max(1, Math.ceil(Number(ms) / 60_000));
  if (whole < 60) return `${whole} min`;
  return `${Math.floor(whole / 60)} h ${whole % 60} min`;
}

/** How long something took. */
export function lasted(ms: number): string {
  const seconds = Math.max(1, Math.round(ms / 1000));
  if (seconds < 120) return seconds === 1 ? "one second" : `${seconds} seconds`;
  return `${Math.round(seconds / 60)} minutes`;
}

export function way(meters: string | number | undefined): string {
  if (meters === undefined) return "";
  const value = Number(meters);
  return value < 1000 ? `${Math.round(value / 10) * 10} m` : `${(value / 1000).toFixed(1)} km`;
}

export function time(at: string | undefined): string {
  return at ? new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }) : "";
}

export function day(at: string | undefined): string {
  if (!at) return "";
  return new Date(at).toLocaleString([], { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
}

/** The time alone of what is today, else with its day. */
export function when(at: string | undefined): string {
  if (!at) return "";
  return new Date(at).toDateString() === new Date().toDateString() ? time(at) : day(at);
}
