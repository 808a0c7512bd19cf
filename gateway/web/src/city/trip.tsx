// One ride for operators: where it stands, all that happened to it, why this driver or why none, where its
// money went; and calling it off.

import { useState } from "preact/hooks";

import type { Api } from "../lib/api";
import { Ask } from "../lib/ask";
import { isZero, money, way, when } from "../lib/format";
import { Notice, wordsOf } from "../lib/notice";
import type { Money, Trip } from "../lib/types";
import { sentence, usePlaceName } from "../lib/use";
import { Ledger } from "./ledger";
import { usePoll } from "./poll";
import type { Transition, TripWithLog } from "./types";
import { Why } from "./why";
import { actorWords, clock, LIVE, plain, short, span, stateWords } from "./words";

const LIVE_EVERY_MS = 2_000;
const ENDED_EVERY_MS = 15_000;

interface Props {
  api: Api;
  tripId: string;
  policies: string[];
  shown: (trip: Trip) => void;
}

export function TripPanel({ api, tripId, policies, shown }: Props) {
  const [live, setLive] = useState(true);
  const { data, problem, again } = usePoll<TripWithLog>(api, `/v1/trips/${tripId}`, live ? LIVE_EVERY_MS : ENDED_EVERY_MS);
  if (!data) return problem ? <Notice tone="bad">{problem}</Notice> : <p class="lead">One moment …</p>;
  const { trip, transitions } = data;
  const isLive = LIVE.includes(trip.state);
  if (isLive !== live) setLive(isLive);
  return (
    <>
      <Head api={api} trip={trip} shown={shown} />
      {problem && <Notice tone="warn">{problem}</Notice>}
      {isLive && <Cancel api={api} trip={trip} done={again} />}
      <Timeline transitions={transitions} />
      <Why api={api} trip={trip} policies={policies} />
      <Ledger api={api} trip={trip} />
    </>
  );
}

function Head({ api, trip, shown }: { api: Api; trip: Trip; shown: (trip: Trip) => void }) {
  const from = usePlaceName(api, trip.pickup);
  const to = usePlaceName(api, trip.dropoff);
  const [words, tone] = stateWords(trip.state);
  const payment = plain(trip.paymentState, "PAYMENT_STATE_").toLowerCase();
  return (
    <header class="stack">
      <p class="eyebrow">Ride {short(trip.tripId)}</p>
      <h1 tabIndex={-1}>
        <span class={`chip ${tone}`} data-test="trip-state" data-state={trip.state}>
          {words}
        </span>
      </h1>
      {trip.endReason && trip.state !== "TRIP_STATE_COMPLETED" && <p>{sentence(trip.endReason)}</p>}
      <dl class="facts">
        <dt>Rider</dt>
        <dd>
          <a href={`#/riders/${encodeURIComponent(trip.riderId)}`}>{trip.riderId}</a>
        </dd>
        <dt>Driver</dt>
        <dd>
          {trip.driver ? (
            <>
              <a href={`#/drivers/${encodeURIComponent(trip.driver.driverId)}`}>{trip.driver.driverId}</a>{" "}
              <span class="small">{[trip.driver.plate, trip.driver.vehicle].filter(Boolean).join(", ")}</span>
            </>
          ) : trip.openOffer ? (
            <>
              offered to <a href={`#/drivers/${encodeURIComponent(trip.openOffer.driverId)}`}>{trip.openOffer.driverId}</a> until{" "}
              {clock(trip.openOffer.expiresAt)}
            </>
          ) : (
            "none"
          )}
        </dd>
        <dt>From</dt>
        <dd>{from || "…"}</dd>
        {trip.stops.length > 0 && (
          <>
            <dt>Stops</dt>
            <dd>
              {trip.stops.filter(({ arrivedAt }) => arrivedAt).length} of {trip.stops.length} reached
            </dd>
          </>
        )}
        <dt>To</dt>
        <dd>
          {to || "…"} <span class="small">{way(trip.distanceMeters)}</span>
        </dd>
        <dt>Asked for</dt>
        <dd>
          {clock(trip.createdAt)}
          {trip.pickupAt && ` for ${when(trip.pickupAt)}`}, {trip.product}
          {trip.seats > 1 && `, ${trip.seats} riders`}
        </dd>
        <dt>Price</dt>
        <dd>
          {money(trip.finalFare ?? trip.fare)} <span class="small">{payment}</span>
          {trip.fee && !isZero(trip.fee) && ` · fee ${money(trip.fee)}`}
        </dd>
      </dl>
      <button class="small" onClick={() => shown(trip)}>
        Show on the map
      </button>
      <details class="id">
        <summary>Whole id</summary>
        <code>{trip.tripId}</code>
      </details>
    </header>
  );
}

function Timeline({ transitions }: { transitions: Transition[] }) {
  return (
    <section aria-labelledby="timeline-title">
      <h2 id="timeline-title">What happened</h2>
      <ol class="timeline" data-test="timeline">
        {transitions.map((step, number) => {
          const before = transitions[number - 1];
          const after = before && Date.parse(step.occurredAt) - Date.parse(before.occurredAt);
          const [words, tone] = stateWords(step.toState);
          return (
            <li key={step.version} class={tone}>
              <span class="spread">
                <strong>{words}</strong>
                <span class="num small">
                  {clock(step.occurredAt)}
                  {after !== undefined && ` · after ${span(after)}`}
                </span>
              </span>
              <span class="small">
                {actorWords(step.actor)}
                {step.actorId && step.actor !== "ACTOR_SYSTEM" && ` ${short(step.actorId)}`}
                {step.reason && `: ${step.reason}`}
              </span>
            </li>
          );
        })}
      </ol>
    </section>
  );
}

interface Preview {
  fee?: Money;
  reason: string;
}

/** Calling a ride off, after a question. */
function Cancel({ api, trip, done }: { api: Api; trip: Trip; done: () => void }) {
  const [preview, setPreview] = useState<Preview | undefined>();
  const [reason, setReason] = useState("");
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);
  const attempt = async (what: () => Promise<void>) => {
    setBusy(true);
    setProblem("");
    try {
      await what();
    } catch (error) {
      setProblem(wordsOf(error));
    } finally {
      setBusy(false);
    }
  };
  const begin = () => attempt(async () => setPreview(await api.get<Preview>(`/v1/trips/${trip.tripId}:previewCancellation`)));
  const cancel = (event: Event) => {
    event.preventDefault();
    void attempt(async () => {
      await api.post(`/v1/trips/${trip.tripId}:cancel`, { reason: reason.trim() });
      setPreview(undefined);
      done();
    });
  };
  return (
    <>
      {problem && !preview && <Notice tone="bad">{problem}</Notice>}
      <button class="danger" disabled={busy} onClick={begin} data-test="cancel">
        Call this ride off …
      </button>
      {preview && (
        <Ask title="Call this ride off?" closed={() => setPreview(undefined)}>
          <form class="stack" onSubmit={cancel}>
            <p>
              The ride of {trip.riderId} ends at once{trip.driver && `, and ${trip.driver.driverId} is free again`}.{" "}
              {isZero(preview.fee) ? "The rider pays nothing." : `The rider pays ${money(preview.fee)}.`} This cannot be undone.
            </p>
            {problem && <Notice tone="bad">{problem}</Notice>}
            <label class="field">
              Why, for the rider and the log
              <input required maxLength={200} value={reason} onInput={({ currentTarget }) => setReason(currentTarget.value)} autofocus />
            </label>
            <div class="row">
              <button type="button" class="grow" onClick={() => setPreview(undefined)}>
                Keep the ride
              </button>
              <button class="danger grow" disabled={busy} data-test="cancel-confirm">
                Call it off
              </button>
            </div>
          </form>
        </Ask>
      )}
    </>
  );
}
