// Something people should know, said aloud by screen readers.

import type { ComponentChildren } from "preact";

import { Problem } from "./api";

export function Notice({ tone, children }: { tone: "info" | "good" | "warn" | "bad"; children: ComponentChildren }) {
  return (
    <div class={`notice ${tone}`} role={tone === "bad" ? "alert" : "status"}>
      {children}
    </div>
  );
}

/** What went wrong, in words that help. */
export function wordsOf(error: unknown): string {
  if (!(error instanceof Problem)) return "Something went wrong on this page. Load it again.";
  switch (error.reason) {
    case "OUTSIDE_MAP":
      return "That place is too far from any road of this city.";
    case "NO_ROUTE":
      return "There is no way by road between these places.";
    case "RIDER_HAS_LIVE_TRIP":
      return "You already have a ride under way.";
    case "QUOTE_EXPIRED":
      return "The price ran out. Here are new ones.";
    case "PAYMENT_DECLINED":
      return "The payment was declined. Nothing was charged.";
    case "WRONG_PIN":
      return `That is not the rider's PIN. Tries left: ${error.metadata["tries_left"] ?? "few"}.`;
    case "PIN_LOCKED":
      return "Too many wrong PINs. Call the operators, or give the ride back.";
    case "OFFER_NOT_OPEN":
      return "This offer is over: it ran out, was called off, or somebody else took it.";
    case "PROMOTION_REFUSED":
      return promotionWords(error.message);
    case "ILLEGAL_TRANSITION":
      return "That is not possible now: the ride has moved on meanwhile.";
    case "OVERLOADED":
      return "A lot is going on right now. Try again in a moment.";
    case "UNAVAILABLE":
    case "DEADLINE_EXCEEDED":
      return "The city does not answer right now. Try again in a moment.";
    default:
      return error.message || "That did not work.";
  }
}

/** One code of the API's stands for all that may be wrong with a promotion; its message tells them apart. */
function promotionWords(message: string): string {
  if (message.includes("used more often")) return "You have used this code as often as one may.";
  if (message.includes("another promotion")) return "This ride has another code already; one is all it may have.";
  return "There is no such code, or it is over.";
}
