// What a plain ride does not need: stops, a later time, a promotion code.

import { day } from "../lib/format";
import { CodeField } from "./promotion";
import { AddStop, type WayInHand } from "./way";

/** The earliest time that is proposed, and the steps of the field. */
const PROPOSED_MS = 60 * 60_000;
const STEP_MS = 5 * 60_000;
/** Cities plan no further ahead where nobody has set another time; they refuse more by themselves. */
const AHEAD_MS_MAX = 31 * 24 * 60 * 60_000;

/** A moment as the field for it wants it: of this device's time zone, to the minute. */
export function local(ms: number): string {
  return new Date(ms - new Date(ms).getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

interface Props {
  hand: WayInHand;
  /** When the rider is to be picked up, as the field has it; empty is now. */
  at: string;
  setAt: (at: string) => void;
  code: string;
  codeProblem: string;
  setCode: (code: string) => void;
}

export function Options({ hand, at, setAt, code, codeProblem, setCode }: Props) {
  const stops = hand.way.stops.length;
  const set = [
    at && day(new Date(at).toISOString()),
    stops > 0 && (stops === 1 ? "one stop" : `${stops} stops`),
    code && `code ${code}`,
  ].filter(Boolean);
  const later = () => setAt(local(Math.ceil((Date.now() + PROPOSED_MS) / STEP_MS) * STEP_MS));
  return (
    <details class="options">
      <summary>
        Options <span class="small">{set.length ? set.join(" · ") : "later, stops, a code"}</span>
      </summary>
      <div class="stack">
        <fieldset class="stack when">
          <legend>When</legend>
          <div class="row wrap methods">
            <label>
              <input type="radio" name="when" checked={!at} onChange={() => setAt("")} /> Now
            </label>
            <label>
              <input type="radio" name="when" checked={Boolean(at)} onChange={later} /> Later
            </label>
          </div>
          {at && (
            <label class="field">
              Pick-up time
              <input
                type="datetime-local"
                required
                min={local(Date.now())}
                max={local(Date.now() + AHEAD_MS_MAX)}
                step={60}
                value={at}
                onInput={({ currentTarget }) => currentTarget.value && setAt(currentTarget.value)}
              />
            </label>
          )}
        </fieldset>
        <AddStop hand={hand} />
        {code ? (
          <div class="row">
            <span class="grow">Promotion code {code}</span>
            <button type="button" class="small" onClick={() => setCode("")}>
              Do without it
            </button>
          </div>
        ) : (
          <CodeField taken={setCode} told={codeProblem} />
        )}
      </div>
    </details>
  );
}
