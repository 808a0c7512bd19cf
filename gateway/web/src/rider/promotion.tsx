// Promotion codes. A code is checked against the prices before the ride is asked for. It is given to the ride once
// its fare is held, and remembered on this device until then.

import { useEffect, useState } from "preact/hooks";

import { type Api, pause } from "../lib/api";
import { money, plus } from "../lib/format";
import { Notice, wordsOf } from "../lib/notice";
import type { Money, Trip } from "../lib/types";

export interface PromotedFare {
  off: Money;
  fare: Money;
}

const CODE = /^[A-Za-z0-9_-]{1,32}$/;
export const NO_CODE = "A code has up to 32 letters, digits, - and _.";

/** What a code would make of some fares, in their order. */
export async function preview(api: Api, code: string, fares: Money[]): Promise<PromotedFare[]> {
  const path = `/v1/promotions/${encodeURIComponent(code)}:preview`;
  return (await api.post<{ fares: PromotedFare[] }>(path, { fares })).fares;
}

const key = (tripId: string) => `jitney.promotion.${tripId}`;
export const remember = (tripId: string, code: string) => localStorage.setItem(key(tripId), code);
export const remembered = (tripId: string) => localStorage.getItem(key(tripId)) ?? "";
export const forgetCode = (tripId: string) => localStorage.removeItem(key(tripId));

/** Where a rider types a code. */
export function CodeField({ taken, told }: { taken: (code: string) => void; told?: string }) {
  const [text, setText] = useState("");
  const [problem, setProblem] = useState("");
  const take = () => {
    const code = text.trim().toUpperCase();
    setProblem(CODE.test(code) ? "" : NO_CODE);
    if (CODE.test(code)) taken(code);
  };
  return (
    <form
      class="stack"
      onSubmit={(event) => {
        event.preventDefault();
        take();
      }}
    >
      <div class="row code">
        <label class="field grow">
          Promotion code
          <input
            autocomplete="off"
            autocapitalize="characters"
            spellcheck={false}
            maxLength={32}
            value={text}
            onInput={({ currentTarget }) => setText(currentTarget.value)}
          />
        </label>
        <button disabled={!text.trim()}>Use it</button>
      </div>
      {(problem || told) && <Notice tone="bad">{problem || told}</Notice>}
    </form>
  );
}

/** So often, and for so long, the hold is looked at after the price has changed. */
const FOLLOW_MS = 1_000;
const FOLLOW_TRIES = 8;

/** What the ride's promotion makes of its fare; a code that waits for the hold is given to it. */
export function usePromotion(api: Api, trip: Trip | undefined) {
  const tripId = trip?.tripId ?? "";
  const [code, setCode] = useState("");
  const [applied, setApplied] = useState<PromotedFare & { code: string }>();
  const [problem, setProblem] = useState("");
  const held = trip?.paymentState === "PAYMENT_STATE_HELD" && !trip.endedAt && trip.state !== "TRIP_STATE_SCHEDULED";
  const wanted = code || (tripId ? remembered(tripId) : "");
  useEffect(() => {
    if (!held || !wanted || !trip?.fare) return;
    const { fare } = trip;
    const stop = new AbortController();
    const give = async () => {
      for (let tries = 1; ; tries += 1) {
        // Given again, it is the same one.
        const given = await api.post<PromotedFare & { code: string }>(`/v1/trips/${tripId}:promotion`, { code: wanted });
        if (stop.signal.aborted) return;
        remember(tripId, given.code);
        setApplied(given);
        setProblem("");
        // The hold follows a new price a moment later.
        const whole = plus(given.fare, given.off);
        if (whole.minorUnits === fare.minorUnits || tries === FOLLOW_TRIES) return;
        await pause(FOLLOW_MS, stop.signal);
      }
    };
    give().catch((error) => {
      if (stop.signal.aborted) return;
      setProblem(wordsOf(error));
      forgetCode(tripId);
      setCode("");
    });
    return () => stop.abort();
  }, [api, tripId, held, wanted, trip?.fare?.minorUnits]);
  return { applied, problem, waiting: !held && !trip?.endedAt ? wanted : "", take: setCode, held };
}

export type PromotionOfRide = ReturnType<typeof usePromotion>;

/** The code of a ride: what it takes off, or where to type one. */
export function Promotion({ promotion }: { promotion: PromotionOfRide }) {
  const { applied, problem, waiting, take, held } = promotion;
  if (applied) {
    return (
      <Notice tone="good">
        {applied.code} takes {money(applied.off)} off: you pay {money(applied.fare)}.
      </Notice>
    );
  }
  if (waiting) {
    return (
      <Notice tone="info">
        Your code {waiting} is taken off once we look for a driver. This device has it: open this ride here then.
      </Notice>
    );
  }
  if (!held) return null;
  return (
    <details open={Boolean(problem)}>
      <summary>Use a promotion code</summary>
      <CodeField taken={take} told={problem} />
    </details>
  );
}
