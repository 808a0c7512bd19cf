// The receipt of a ride, once there is one.

import { useEffect, useState } from "preact/hooks";

import { type Api, pause, Problem } from "./api";
import { wordsOf } from "./notice";
import type { Receipt, Trip } from "./types";

/** Nothing has been taken yet: there is no receipt to ask for. The trip's stream says when that has changed. */
const BEFORE = ["UNSPECIFIED", "NONE", "HELD"].map((state) => `PAYMENT_STATE_${state}`);
/** How often, and how many times, one that is not there all the same is asked for. */
const EVERY_MS = 1_000;
const TRIES = 20;

/** `again` asks anew, for what has come to it since. */
export function useReceipt(api: Api, trip: Trip, again = 0): [receipt: Receipt | undefined, problem: string] {
  const [receipt, setReceipt] = useState<Receipt>();
  const [problem, setProblem] = useState("");
  const taken = !BEFORE.includes(trip.paymentState);
  useEffect(() => {
    if (!taken) return;
    const stop = new AbortController();
    const ask = async () => {
      for (let tries = 1; ; tries += 1) {
        try {
          const answer = await api.get<{ receipt: Receipt }>(`/v1/trips/${trip.tripId}/receipt`, undefined, stop.signal);
          setReceipt(answer.receipt);
          return;
        } catch (error) {
          const missing = error instanceof Problem && error.reason === "NOT_FOUND";
          if (!missing || tries === TRIES) throw error;
          await pause(EVERY_MS, stop.signal);
        }
      }
    };
    ask().catch((error) => {
      if (!stop.signal.aborted) setProblem(wordsOf(error));
    });
    return () => stop.abort();
  }, [api, trip.tripId, trip.paymentState, taken, again]);
  return [receipt, problem];
}
