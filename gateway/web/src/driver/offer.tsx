// An offer: where to, what for, and how long there is to answer.

import { useEffect, useRef, useState } from "preact/hooks";

import { type Api, Problem } from "../lib/api";
import { minutes, money, way } from "../lib/format";
import type { CityMap } from "../lib/map";
import { Notice, wordsOf } from "../lib/notice";
import type { Offer, Point, Route, ServiceArea } from "../lib/types";
import { useNow, usePlaceName } from "../lib/use";
import { routeOf } from "./position";

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
    let current = true;
    routeOf(api, [offer.pickup, offer.dropoff]).then((found) => current && setRoute(found), () => {});
    return () => void (current = false);
  }, [api, offer.offerId]);
  useEffect(() => {
    if (!map) return;
    const begin = from;
    let current = true;
    map.place("pickup", offer.pickup, "pickup", "Pick-up");
    map.place("dropoff", offer.dropoff, "dropoff", "Destination");
    map.route(route?.line);
    map.fit([offer.pickup, offer.dropoff, ...(begin ? [begin] : []), ...(route?.line ?? [])]);
    if (begin) {
      routeOf(api, [begin, offer.pickup]).then((found) => current && map.route(found?.line, "trail"), () => {});
    }
    return () => {
      current = false;
      map.place("pickup", undefined, "pickup", "");
      map.place("dropoff", undefined, "dropoff", "");
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
