// What more than one page follows: a trip as it changes, the time, names of places.

import { useEffect, useState } from "preact/hooks";

import type { Api } from "./api";
import { follow } from "./events";
import type { DriverPosition, Point, Trip } from "./types";
import { wordsOf } from "./notice";

export interface Watched {
  trip?: Trip;
  position?: DriverPosition;
  /** False while the connection is broken: what is shown may be old. */
  live: boolean;
  problem: string;
}

interface Update {
  trip?: Trip;
  driverPosition?: DriverPosition;
}

const isOlder = (trip: Trip, known: Trip) => Number(trip.version) < Number(known.version);

/**
 * A trip as it changes. `seed` is what is known already. The other one takes what a request was answered, unless
 * as much is known: where the payment stands changes beside the version, and the stream may have told it first.
 */
export function useTrip(api: Api, tripId: string, seed?: Trip): [Watched, (trip: Trip) => void] {
  const [watched, setWatched] = useState<Watched>({ live: true, problem: "", ...(seed && { trip: seed }) });
  const take = (trip: Trip) => setWatched((before) => (before.trip && !isOlder(before.trip, trip) ? before : { ...before, trip }));
  const hear = (trip: Trip) => setWatched((before) => (before.trip && isOlder(trip, before.trip) ? before : { ...before, trip }));
  useEffect(() => {
    const stop = new AbortController();
    const told = {
      message: (update: Update) => {
        if (update.trip) hear(update.trip);
        const position = update.driverPosition;
        if (position) setWatched((before) => ({ ...before, position }));
      },
      live: (live: boolean) => setWatched((before) => ({ ...before, live })),
    };
    follow<Update>(api, `/v1/trips/${tripId}:watch`, told, stop.signal).catch((error) =>
      setWatched((before) => ({ ...before, problem: wordsOf(error) })),
    );
    return () => stop.abort();
  }, [api, tripId]);
  return [watched, take];
}

/** The time, told again and again; nothing is told while `running` is false. */
export function useNow(everyMs: number, running = true): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    if (!running) return;
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs, running]);
  return now;
}

const names = new Map<string, Promise<string>>();

/** What a place is called: its street, or where it is in degrees. */
export function placeName(api: Api, at: Point): Promise<string> {
  const degrees = `${at.latitude.toFixed(5)}, ${at.longitude.toFixed(5)}`;
  const query = { "location.latitude": at.latitude, "location.longitude": at.longitude };
  let name = names.get(degrees);
  if (!name) {
    name = api
      .get<{ place?: { title: string } }>("/v1/places:describe", query)
      .then(({ place }) => place?.title || degrees)
      .catch(() => {
        names.delete(degrees);
        return degrees;
      });
    names.set(degrees, name);
  }
  return name;
}

export function usePlaceName(api: Api, at: Point | undefined): string {
  const [name, setName] = useState("");
  useEffect(() => {
    let current = true;
    setName("");
    if (at) void placeName(api, at).then((found) => current && setName(found));
    return () => void (current = false);
  }, [api, at?.latitude, at?.longitude]);
  return name;
}

/** A sentence of the API's, as people write one. */
export function sentence(text: string): string {
  const whole = text.trim();
  if (!whole) return "";
  const first = whole[0]?.toUpperCase() ?? "";
  return first + whole.slice(1) + (/[.!?]$/.test(whole) ? "" : ".");
}
