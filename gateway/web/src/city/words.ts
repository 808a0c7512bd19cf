// The API's names in the words of people who run a city.

import type { TripState } from "../lib/types";

export type Tone = "info" | "good" | "warn" | "bad" | "calm";

const STATES: Record<TripState, [words: string, tone: Tone]> = {
  TRIP_STATE_SCHEDULED: ["Booked for later", "calm"],
  TRIP_STATE_SEARCHING: ["Looking for a driver", "warn"],
  TRIP_STATE_OFFERED: ["Offered to a driver", "warn"],
  TRIP_STATE_ASSIGNED: ["Driver on the way", "info"],
  TRIP_STATE_DRIVER_ARRIVED: ["Driver at the pick-up", "info"],
  TRIP_STATE_IN_PROGRESS: ["Under way", "info"],
  TRIP_STATE_COMPLETED: ["Driven", "good"],
  TRIP_STATE_CANCELLED: ["Called off", "bad"],
  TRIP_STATE_EXPIRED: ["No driver found", "bad"],
  TRIP_STATE_NO_SHOW: ["Rider did not come", "bad"],
};

export const LIVE: TripState[] = [
  "TRIP_STATE_SCHEDULED",
  "TRIP_STATE_SEARCHING",
  "TRIP_STATE_OFFERED",
  "TRIP_STATE_ASSIGNED",
  "TRIP_STATE_DRIVER_ARRIVED",
  "TRIP_STATE_IN_PROGRESS",
];

export const stateWords = (state: string): [string, Tone] => STATES[state as TripState] ?? [plain(state, "TRIP_STATE_"), "calm"];

/** A name of the API's without its prefix, as a sentence begins. */
export function plain(name: string, prefix = ""): string {
  const words = name.replace(prefix, "").toLowerCase().replaceAll("_", " ");
  return words ? (words[0] ?? "").toUpperCase() + words.slice(1) : "";
}

/** What a driver is doing: by the number of the state, its words and the colour it is drawn in. */
export interface DriverKind {
  words: string;
  colour: [light: string, dark: string];
}

export const DRIVER_STATES: Record<number, DriverKind> = {
  2: { words: "Idle", colour: ["#12805c", "#3ddba0"] },
  3: { words: "Thinking about an offer", colour: ["#b7791f", "#f6c453"] },
  4: { words: "On the way to a rider", colour: ["#2b6cb0", "#63b3ed"] },
  5: { words: "With a rider", colour: ["#6b46c1", "#b794f4"] },
  6: { words: "With a rider, next ride taken", colour: ["#b83280", "#f687b3"] },
};

const DRIVER_NAMES = ["DRIVER_STATE_UNSPECIFIED", "DRIVER_STATE_OFFLINE", "DRIVER_STATE_IDLE", "DRIVER_STATE_OFFERED", "DRIVER_STATE_EN_ROUTE", "DRIVER_STATE_ON_TRIP", "DRIVER_STATE_CHAINED"];

export function driverWords(name: string): string {
  return DRIVER_STATES[DRIVER_NAMES.indexOf(name)]?.words ?? plain(name, "DRIVER_STATE_");
}

/** Why a driver was not chosen, and how it reads with a number of drivers before it. */
const VERDICTS: Record<string, [one: string, many: string]> = {
  VERDICT_REASON_CHOSEN: ["Chosen", "chosen"],
  VERDICT_REASON_TAKEN: ["Chosen for another ride", "were chosen for other rides"],
  VERDICT_REASON_DEARER: ["Somebody else was better", "could come, but somebody else was better"],
  VERDICT_REASON_ON_TRIP: ["Has a ride", "had a ride"],
  VERDICT_REASON_SET_ASIDE: ["Thinking about another offer", "were thinking about another offer"],
  VERDICT_REASON_PRODUCT: ["Does not serve this product", "do not serve this product"],
  VERDICT_REASON_DECLINED: ["Declined this ride before", "had declined this ride, or not answered"],
  VERDICT_REASON_OUT_OF_REACH: ["Too far away", "were too far away"],
  VERDICT_REASON_NOT_NEAREST: ["Enough others were nearer", "were in reach, but enough others were nearer"],
  VERDICT_REASON_QUEUE: ["Others have queued for longer", "had others before them in the queue"],
  VERDICT_REASON_GOING_HOME: ["Going home another way", "were going home another way"],
  VERDICT_REASON_SEATS: ["Not enough free seats", "had too few free seats"],
  VERDICT_REASON_DETOUR: ["Too long a detour for the riders", "would have made too long a detour"],
};

export const verdictWords = (reason: string) => VERDICTS[reason]?.[0] ?? plain(reason, "VERDICT_REASON_");
export const verdictsWords = (reason: string) => VERDICTS[reason]?.[1] ?? plain(reason, "VERDICT_REASON_").toLowerCase();

const ENTRIES: Record<string, string> = {
  ENTRY_KIND_CAPTURE: "The fare was taken",
  ENTRY_KIND_REFUND: "Given back to the rider",
  ENTRY_KIND_TIP: "A tip for the driver",
  ENTRY_KIND_PROVIDER_CAPTURE: "The payment provider charged the rider",
  ENTRY_KIND_PROVIDER_REFUND: "The payment provider paid the rider back",
  ENTRY_KIND_CHARGEBACK: "The rider's bank took the payment back",
  ENTRY_KIND_CHARGEBACK_WON: "The bank gave the payment to us after all",
};
export const entryWords = (kind: string) => ENTRIES[kind] ?? plain(kind, "ENTRY_KIND_");

const ACCOUNTS: Record<string, string> = {
  rider_receivable: "The rider owes",
  rider_credit: "The rider's credit",
  driver_payable: "Owed to the driver",
  driver_cash_due: "Cash the driver took for us",
  platform_revenue: "The platform earned",
  tax_payable: "Tax, to be handed on",
  psp_clearing: "At the payment provider",
  payout_in_transit: "On its way to the driver",
  promo_expense: "Promotions and credit, borne by the platform",
  chargeback_loss: "Lost to chargebacks",
  rounding: "Rounding",
};
export const accountWords = (account: string) => ACCOUNTS[account] ?? plain(account);

const ACTORS: Record<string, string> = {
  ACTOR_RIDER: "Rider",
  ACTOR_DRIVER: "Driver",
  ACTOR_OPERATOR: "Operator",
  ACTOR_SYSTEM: "Jitney",
};
export const actorWords = (actor: string) => ACTORS[actor] ?? plain(actor, "ACTOR_");

/** A span of time to the second, short. */
export function span(ms: number | string | undefined): string {
  if (ms === undefined) return "–";
  const seconds = Math.round(Number(ms) / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return seconds % 60 ? `${minutes} min ${String(seconds % 60).padStart(2, "0")} s` : `${minutes} min`;
  return minutes % 60 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${minutes / 60} h`;
}

export const clock = (at: string | undefined) =>
  at ? new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" }) : "";

/** An id is long: what people read of it. */
export const short = (id: string) => (/^[0-9a-f]{8}-/.test(id) ? `…${id.slice(-8)}` : id);
