// An offer: where to, what for, and how long there is to answer.

import { useEffect, useRef, useState } from "preact/hooks";

import { type Api, pause, Problem } from "../lib/api";
import { minutes, money, way, when } from "../lib/format";
import type { CityMap } from "../lib/map";
import { Notice, wordsOf } from "../lib/notice";
import type { Offer, Point, Route, ServiceArea, Trip } from "../lib/types";
import { useNow, usePlaceName } from "../lib/use";
import { routeOf } from "./position";

/** An offer may be here before the ride knows of it: so long after it the ride is asked for, and so often. */
const ASKED_AFTER_MS = 500;
const TRIES = 4;

interface Props {
  api: Api;
  area: ServiceArea;
  map: CityMap | undefined;
  offer: Offer;
  from: Point | undefined;
  /** The offer is answered, or gone. */
  over: () => void;
  took: (tripId: string) => void;
}

export function OfferCard({ api, area, map, offer, from, over, took }: Props) {
  const now = useNow(250);
  const whole = useRef(Math.max(1, Date.parse(offer.expiresAt) - Date.now()));
  const [route, setRoute] = useState<Route>();
  const [trip, setTrip] = useState<Trip>();
  const stops = trip?.stops ?? [];
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const accept = useRef<HTMLButtonElement>(null);
  const pickup = usePlaceName(api, offer.pickup);
  const dropoff = usePlaceName(api, offer.dropoff);
  const left = Math.max(0, Date.parse(offer.expiresAt) - now);
  const title = area.products.find(({ product }) => product === offer.product)?.title ?? offer.product;

  useEffect(() => {
    accept.current?.focus();
  }, [offer.offerId]);
  useEffect(() => {
    const stop = new AbortController();
    const ask = async () => {
      // The offer says the ends alone; whom it is made to may read the ride, once it is written down there.
      for (let tries = 1; tries <= TRIES; tries += 1) {
        await pause(ASKED_AFTER_MS, stop.signal);
        const answer = await api.get<{ trip: Trip }>(`/v1/trips/${offer.tripId}`, undefined, stop.signal).catch(() => undefined);
        if (stop.signal.aborted) return;
        if (answer) return setTrip(answer.trip);
      }
    };
    ask().catch(() => {});
    return () => stop.abort();
  }, [api, offer.offerId]);
  useEffect(() => {
    let current = true;
    const through = [offer.pickup, ...stops.map(({ location }) => location), offer.dropoff];
    routeOf(api, through).then((found) => current && setRoute(found), () => {});
    return () => void (current = false);
  }, [api, offer.offerId, stops.length]);
  useEffect(() => {
    if (!map) return;
    const begin = from;
    let current = true;
    map.place("pickup", offer.pickup, "pickup", "Pick-up");
    map.place("dropoff", offer.dropoff, "dropoff", "Destination");
    stops.forEach(({ location }, n) => map.place(`stop-${n}`, location, "stop", `Stop ${n + 1}`, String(n + 1)));
    map.route(route?.line);
    map.fit([offer.pickup, offer.dropoff, ...(begin ? [begin] : []), ...(route?.line ?? [])]);
    if (begin) {
      routeOf(api, [begin, offer.pickup]).then((found) => current && map.route(found?.line, "trail"), () => {});
    }
    return () => {
      current = false;
      map.place("pickup", undefined, "pickup", "");
      map.place("dropoff", undefined, "dropoff", "");
      stops.forEach((_, n) => map.place(`stop-${n}`, undefined, "stop", ""));
      map.route(undefined);
      map.route(undefined, "trail");
    };
  }, [map, offer.offerId, route]);

  const answer = async (verb: "accept" | "decline") => {
    setBusy(true);
    setProblem("");
    try {
      await api.post(`/v1/trips/${offer.tripId}/offers/${offer.offerId}:${verb}`);
      if (verb === "accept") took(offer.tripId);
      over();
    } catch (error) {
      setProblem(wordsOf(error));
      if (error instanceof Problem && error.reason === "OFFER_NOT_OPEN") setTimeout(over, 4_000);
    } finally {
      setBusy(false);
    }
  };
  return (
    <section class="offer stack" aria-labelledby="offer-title" data-test="offer">
      <div class="spread">
        <h1 id="offer-title">
          {offer.besideTripId ? (offer.shared ? "Take more riders along?" : "Your next ride?") : "A ride for you"}
        </h1>
        <span class="big">{money(offer.fare)}</span>
      </div>
      <p class="visually-hidden" role="alert">
        A ride for you: {money(offer.fare)}, {minutes(offer.pickupDurationMs)} to the pick-up. Accept or decline.
      </p>
      <div class="countdown" role="timer" aria-label={`${Math.ceil(left / 1000)} seconds left`}>
        <span style={{ transform: `scaleX(${Math.min(1, left / whole.current)})` }} />
      </div>
      <dl class="facts">
        <div>
          <dt>Pick-up</dt>
          <dd>
            {pickup} <span class="small">{`${minutes(offer.pickupDurationMs)}, ${way(offer.pickupDistanceMeters)} from you`}</span>
          </dd>
        </div>
        {stops.length > 0 && (
          <div>
            <dt>By way of</dt>
            <dd>
              {stops.map(({ location }, number) => (
                <StopName key={number} api={api} location={location} />
              ))}
            </dd>
          </div>
        )}
        <div>
          <dt>To</dt>
          <dd>
            {dropoff} {route && <span class="small">{`${minutes(route.durationMs)}, ${way(route.distanceMeters)} with the rider`}</span>}
          </dd>
        </div>
        <div>
          <dt>Ride</dt>
          <dd>
            {title}, {offer.seats > 1 ? `${offer.seats} riders` : "one rider"}
            {trip?.pickupAt && <span class="small">booked ahead for {when(trip.pickupAt)}</span>}
          </dd>
        </div>
      </dl>
      <p class="small">{money(offer.fare)} is what the rider pays. Your share is on the receipt.</p>
      {problem && <Notice tone="bad">{problem}</Notice>}
      <div class="row answers">
        <button class="grow" disabled={busy} onClick={() => void answer("decline")}>
          Decline
        </button>
        <button class="primary grow" ref={accept} disabled={busy} onClick={() => void answer("accept")}>
          Accept
          <span class="num" aria-hidden="true">
            {Math.ceil(left / 1000)}
          </span>
        </button>
      </div>
    </section>
  );
}

function StopName({ api, location }: { api: Api; location: Point }) {
  return <span class="stop-name">{usePlaceName(api, location)}</span>;
}
