// Rides that are booked for later, and the moment when one of them begins.

import { useEffect, useState } from "preact/hooks";

import type { Api } from "../lib/api";
import { day, money } from "../lib/format";
import { Notice } from "../lib/notice";
import type { Trip } from "../lib/types";
import { usePlaceName } from "../lib/use";
import { liveTrip } from "./live-trip";

/** How often it is looked whether one of them has begun. */
const LOOKED_EVERY_MS = 15_000;

/** The rides that are booked, the next one first. */
export async function bookedTrips(api: Api): Promise<Trip[]> {
  const { trips } = await api.get<{ trips: Trip[] }>("/v1/trips", { pageSize: 20, states: ["TRIP_STATE_SCHEDULED"] });
  return trips.sort((a, b) => Date.parse(a.pickupAt ?? a.createdAt) - Date.parse(b.pickupAt ?? b.createdAt));
}

export function Booked({ api }: { api: Api }) {
  const [booked, setBooked] = useState<Trip[]>([]);
  const [live, setLive] = useState<Trip>();
  useEffect(() => {
    let current = true;
    let timer: ReturnType<typeof setTimeout>;
    const look = async () => {
      // It is looked again; what is shown stays until then.
      const found = await Promise.all([bookedTrips(api), liveTrip(api)]).catch(() => undefined);
      if (!current) return;
      if (found) {
        setBooked(found[0]);
        setLive(found[1]);
      }
      // Whoever has booked nothing has nothing to wait for.
      if (!found || found[0].length) timer = setTimeout(look, LOOKED_EVERY_MS);
    };
    void look();
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [api]);
  return (
    <>
      {live && (
        <Notice tone="good">
          Your ride is under way. <a href={`#/trips/${live.tripId}`}>See where it is</a>
        </Notice>
      )}
      {booked.length > 0 && (
        <section class="stack" aria-labelledby="booked" data-test="booked">
          <h2 id="booked">Booked</h2>
          <ul class="rides">
            {booked.map((trip) => (
              <BookedRide key={trip.tripId} api={api} trip={trip} />
            ))}
          </ul>
        </section>
      )}
    </>
  );
}

function BookedRide({ api, trip }: { api: Api; trip: Trip }) {
  const from = usePlaceName(api, trip.pickup);
  const to = usePlaceName(api, trip.dropoff);
  return (
    <li>
      <a class="card" href={`#/trips/${trip.tripId}`}>
        <span class="spread">
          <strong>{day(trip.pickupAt)}</strong>
          <span class="num">{money(trip.fare)}</span>
        </span>
        <span class="small">
          from {from || "…"} to {to || "…"}
        </span>
      </a>
    </li>
  );
}
