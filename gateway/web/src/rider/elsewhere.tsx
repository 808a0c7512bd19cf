// Going somewhere else than was asked for: the new place, what the whole ride costs then, and only after that
// the change.

import { useEffect, useRef, useState } from "preact/hooks";

import { type Api, Problem } from "../lib/api";
import { minutes, money, way } from "../lib/format";
import type { CityMap } from "../lib/map";
import { Notice, wordsOf } from "../lib/notice";
import type { Point, Route, Trip } from "../lib/types";
import { placeName } from "../lib/use";
import { AddStop, keyOf, type Tapped, useWay, WayFields } from "./way";

/** In these a ride may go elsewhere. */
const STATES = ["SCHEDULED", "SEARCHING", "OFFERED", "ASSIGNED", "DRIVER_ARRIVED", "IN_PROGRESS"].map((state) => `TRIP_STATE_${state}`);

interface Props {
  api: Api;
  map: CityMap | undefined;
  tapped: Tapped;
  trip: Trip;
  hasPromotion: boolean;
  took: (trip: Trip) => void;
  closed: Closed;
}

export const mayGoElsewhere = (trip: Trip) => STATES.includes(trip.state);

/** Told when it is over, with what came of it. */
type Closed = (told?: string) => void;

export function Elsewhere({ api, map, tapped, trip, hasPromotion, took, closed }: Props) {
  const [initial] = useState(() => ({
    stops: trip.stops.filter(({ arrivedAt }) => !arrivedAt).map(({ location }, id) => ({ id, place: { title: `Stop ${id + 1}`, location } })),
  }));
  const hand = useWay(api, map, tapped, initial, "dropoff", "new-");
  const { way: wanted, stops } = hand;
  const [foreseen, setForeseen] = useState<Trip>();
  const [problem, setProblem] = useState("");
  const [changed, setChanged] = useState("");
  const [busy, setBusy] = useState(false);
  const [again, setAgain] = useState(0);

  const title = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    title.current?.focus();
    // They were known by their places alone.
    for (const { id, place } of initial.stops) {
      void placeName(api, place.location).then((title) => hand.put(id, { ...place, title }));
    }
  }, []);

  // Where nothing was chosen the destination stays: only stops come or go.
  const dropoff: Point = wanted.dropoff?.location ?? trip.dropoff;
  const points = [...stops.map(({ location }) => location), dropoff];
  const isAnother = Boolean(wanted.dropoff) || keyOf(points) !== keyOf([...initial.stops.map(({ place }) => place.location), trip.dropoff]);
  const body = { dropoff, stops: points.slice(0, -1) };
  const key = keyOf(points);
  useEffect(() => {
    setForeseen(undefined);
    setProblem("");
    if (!isAnother) return;
    let current = true;
    const path = `/v1/trips/${trip.tripId}:editDestination`;
    api.post<{ trip: Trip }>(path, { ...body, validateOnly: true }).then(
      ({ trip }) => current && setForeseen(trip),
      (error) => current && setProblem(wordsOf(error)),
    );
    return () => void (current = false);
  }, [api, key, isAnother, again, trip.state]);

  useEffect(() => {
    if (!map || !isAnother) return;
    let current = true;
    const through = [trip.pickup, ...trip.stops.filter(({ arrivedAt }) => arrivedAt).map(({ location }) => location), ...points];
    api.post<{ route?: Route }>("/v1/routes:compute", { points: through }).then(
      ({ route }) => {
        if (!current) return;
        map.route(route?.line, "trail");
        map.fit(route?.line ?? through);
      },
      () => {},
    );
    return () => {
      current = false;
      map.route(undefined, "trail");
    };
  }, [map, key, isAnother]);

  const change = async () => {
    if (!foreseen?.fare) return;
    setBusy(true);
    setProblem("");
    setChanged("");
    try {
      const { trip: next } = await api.post<{ trip: Trip }>(`/v1/trips/${trip.tripId}:editDestination`, { ...body, maxFare: foreseen.fare });
      took(next);
      closed(`${next.driver ? "The driver is told. " : ""}The ride costs ${money(next.fare)} now.`);
    } catch (error) {
      if (error instanceof Problem && error.reason === "FEE_ABOVE_LIMIT") {
        setChanged("The price has changed meanwhile. Look again before you say yes.");
        setAgain((n) => n + 1);
      } else setProblem(wordsOf(error));
    } finally {
      setBusy(false);
    }
  };
  const moreText = foreseen?.fare && trip.fare && foreseen.fare.minorUnits !== trip.fare.minorUnits ? `, instead of ${money(trip.fare)}` : ", as before";
  return (
    <section class="card stack" aria-labelledby="elsewhere" data-test="elsewhere">
      <h2 id="elsewhere" tabIndex={-1} ref={title}>Where to instead?</h2>
      <WayFields hand={hand} from={false} />
      <AddStop hand={hand} />
      {changed && <Notice tone="warn">{changed}</Notice>}
      {problem && <Notice tone="bad">{problem}</Notice>}
      {isAnother && !foreseen && !problem && <p role="status">Asking for the price …</p>}
      {foreseen && (
        <div role="status" data-test="new-price">
          <p>
            <strong>{money(foreseen.fare)}</strong> for the whole ride{moreText}.
          </p>
          <p class="small">
            {way(foreseen.distanceMeters)}, {minutes(foreseen.durationMs)} from the pick-up.
            {hasPromotion && " Your promotion is taken off that."}
            {trip.paymentMethod === "PAYMENT_METHOD_CASH" && " In cash, to the driver."}
          </p>
        </div>
      )}
      <button class="primary" disabled={!foreseen || busy} onClick={() => void change()}>
        {foreseen ? `Go there for ${money(foreseen.fare)}` : "Choose a place first"}
      </button>
      <button onClick={() => closed()}>Leave it as it is</button>
    </section>
  );
}
