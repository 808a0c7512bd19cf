// A ride that somebody shared: where it stands and where the car is. No account; the token is behind the `#`.

import { render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { Api, type Problem } from "../lib/api";
import "../lib/base.css";
import "../lib/parts.css";
import { follow } from "../lib/events";
import { minutes, time, when } from "../lib/format";
import type { CityMap } from "../lib/map";
import { MapView } from "../lib/map-view";
import { Notice, wordsOf } from "../lib/notice";
import { read, type Session } from "../lib/session";
import type { DriverPosition, ServiceArea, Trip } from "../lib/types";

interface Update {
  trip?: Trip;
  driverPosition?: DriverPosition;
}

function headline(trip: Trip, position: DriverPosition | undefined): [string, string] {
  const eta = position?.etaMs ? minutes(position.etaMs) : "";
  // The time told is that to the next stop, where there is one.
  const ahead = trip.stops.findIndex(({ arrivedAt }) => !arrivedAt);
  switch (trip.state) {
    case "TRIP_STATE_SCHEDULED":
      return ["The ride is booked", trip.pickupAt ? `The car is to come at ${when(trip.pickupAt)}.` : ""];
    case "TRIP_STATE_SEARCHING":
    case "TRIP_STATE_OFFERED":
      return ["Looking for a driver", "The car is shown here as soon as a driver has taken the ride."];
    case "TRIP_STATE_ASSIGNED":
      return [eta ? `At the pick-up in ${eta}` : "On the way to the pick-up", "A driver has taken the ride."];
    case "TRIP_STATE_DRIVER_ARRIVED":
      return ["At the pick-up", "The car waits for its rider."];
    case "TRIP_STATE_IN_PROGRESS":
      return [eta ? (ahead < 0 ? `There in ${eta}` : `At stop ${ahead + 1} in ${eta}`) : "On the way", "The rider is on board."];
    case "TRIP_STATE_COMPLETED":
      return ["Arrived", `The ride ended at ${time(trip.endedAt)}.`];
    default:
      return ["The ride is over", "It did not take place."];
  }
}

function Shared({ session, tripId }: { session: Session; tripId: string }) {
  const [trip, setTrip] = useState<Trip>();
  const [position, setPosition] = useState<DriverPosition>();
  const [live, setLive] = useState(false);
  const [problem, setProblem] = useState("");
  const [area, setArea] = useState<ServiceArea>();
  const [map, setMap] = useState<CityMap>();
  const fitted = useRef("");
  useEffect(() => {
    const stop = new AbortController();
    const api = new Api(session);
    // Without it there is no map; where the ride stands is said all the same.
    api.get<ServiceArea>("/v1/service-area").then(setArea, () => {});
    const told = {
      message: (update: Update) => {
        if (update.trip) setTrip(update.trip);
        if (update.driverPosition) setPosition(update.driverPosition);
      },
      live: setLive,
    };
    follow<Update>(api, `/v1/trips/${tripId}:watch`, told, stop.signal).catch((error: Problem) => setProblem(gone(error)));
    return () => stop.abort();
  }, [session]);

  useEffect(() => {
    if (!map || !trip) return;
    map.place("pickup", trip.pickup, "pickup", "Pick-up");
    map.place("dropoff", trip.dropoff, "dropoff", "Destination");
    trip.stops.forEach((stop, n) => map.place(`stop-${n}`, stop.arrivedAt ? undefined : stop.location, "stop", `Stop ${n + 1}`, String(n + 1)));
    const over = Boolean(trip.endedAt);
    const at = over ? undefined : position?.location;
    map.car("car", at, position?.headingDegrees, "The car");
    if (fitted.current !== `${trip.state} ${Boolean(at)}`) {
      fitted.current = `${trip.state} ${Boolean(at)}`;
      map.fit([trip.pickup, ...trip.stops.map(({ location }) => location), trip.dropoff, ...(at ? [at] : [])]);
    }
  }, [map, trip, position]);

  if (problem && !trip) return <Nothing told={problem} />;
  const [title, told] = trip ? headline(trip, position) : ["A shared ride", "Asking where it is …"];
  return (
    <div class="screen">
      <header class="topbar">
        <a class="brand" href="/">
          Jitney
        </a>
      </header>
      {area ? <MapView area={area} ready={setMap} /> : <div class="map" />}
      <main class="sheet">
        <div aria-live="polite" class="stack">
          <h1>{title}</h1>
          <p class="lead">{told}</p>
        </div>
        {trip?.driver && (trip.driver.plate || trip.driver.vehicle) && (
          <p>
            <strong>{trip.driver.plate}</strong> {trip.driver.vehicle}
          </p>
        )}
        {problem && <Notice tone="warn">{problem}</Notice>}
        {!live && trip && !trip.endedAt && !problem && <Notice tone="warn">Connecting again …</Notice>}
        <p class="small">Somebody shared this ride with you. You see where it is, no names and no money.</p>
      </main>
    </div>
  );
}

const gone = (error: Problem) =>
  error.reason === "UNAUTHENTICATED" || error.reason === "NOT_FOUND" || error.reason === "PERMISSION_DENIED"
    ? "This link shows nothing any more: it ran out, or whoever made it took it back."
    : wordsOf(error);

function Nothing({ told }: { told: string }) {
  return (
    <main class="door">
      <a class="brand" href="/">
        Jitney
      </a>
      <h1>A shared ride</h1>
      <Notice tone="warn">{told}</Notice>
    </main>
  );
}

const link = new URLSearchParams(location.hash.slice(1));
const session = read(link.get("token") ?? "");
const tripId = link.get("trip") ?? "";
const whole = session?.role === "guest" && /^[0-9a-f-]{36}$/.test(tripId);
render(
  whole ? <Shared session={session} tripId={tripId} /> : <Nothing told="This link is not whole. Ask for it again." />,
  document.getElementById("page") as HTMLElement,
);
