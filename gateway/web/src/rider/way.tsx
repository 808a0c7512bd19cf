// The way of a ride as a rider puts it together: from where, over which stops, to where. Each place is typed or
// tapped on the map.

import { useEffect, useId, useRef, useState } from "preact/hooks";

import type { Api } from "../lib/api";
import type { CityMap } from "../lib/map";
import { type Place, PlaceField } from "../lib/place-field";
import type { Point } from "../lib/types";
import { placeName } from "../lib/use";

/** As many stops as a city allows where nobody has set another number; it refuses more by itself. */
export const STOPS_MAX = 5;

export interface Stop {
  /** Names the field while it is moved about. */
  id: number;
  place?: Place;
}

export interface Way {
  pickup?: Place;
  stops: Stop[];
  dropoff?: Place;
}

/** Which place is meant: an end, or a stop by its id. */
export type Spot = "pickup" | "dropoff" | number;

export interface Tapped {
  current: ((point: Point) => void) | undefined;
}

export type WayInHand = ReturnType<typeof useWay>;

/** `mark` sets the places on the map apart from others that are on it. */
export function useWay(api: Api, map: CityMap | undefined, tapped: Tapped, initial: Way, first: Spot, mark = "") {
  const [way, setWay] = useState(initial);
  const [active, setActive] = useState<Spot>(first);
  const nextId = useRef(1 + Math.max(0, ...initial.stops.map(({ id }) => id)));
  const get = (spot: Spot) => (typeof spot === "number" ? way.stops.find(({ id }) => id === spot)?.place : way[spot]);

  const put = (spot: Spot, place: Place | undefined) => {
    setWay((before) => written(before, spot, place));
    if (place && spot === "pickup" && !way.dropoff) setActive("dropoff");
  };
  const putPoint = async (spot: Spot, location: Point) => {
    put(spot, { title: "A place on the map", location });
    const title = await placeName(api, location);
    // Unless it is another place by now.
    setWay((before) => {
      const there = typeof spot === "number" ? before.stops.find(({ id }) => id === spot)?.place : before[spot];
      return there?.location === location ? written(before, spot, { title, location }) : before;
    });
  };
  const addStop = () => {
    const id = nextId.current++;
    setWay((before) => ({ ...before, stops: [...before.stops, { id }] }));
    setActive(id);
  };
  const removeStop = (id: number) => {
    setWay((before) => ({ ...before, stops: before.stops.filter((stop) => stop.id !== id) }));
    if (active === id) setActive("dropoff");
  };
  const moveStop = (id: number, by: -1 | 1) =>
    setWay((before) => {
      const at = before.stops.findIndex((stop) => stop.id === id);
      const stops = before.stops.slice();
      const [stop] = stops.splice(at, 1);
      if (stop) stops.splice(at + by, 0, stop);
      return { ...before, stops };
    });

  useEffect(() => {
    tapped.current = (point) => void putPoint(active, point);
    return () => void (tapped.current = undefined);
  });

  useEffect(() => {
    if (!map) return;
    const { pickup, dropoff } = way;
    map.place(`${mark}pickup`, pickup?.location, "pickup", `Pick-up: ${pickup?.title ?? ""}`);
    map.place(`${mark}dropoff`, dropoff?.location, "dropoff", `Destination: ${dropoff?.title ?? ""}`);
    const stops = way.stops.flatMap(({ id, place }) => (place ? [{ id: `${mark}stop-${id}`, place }] : []));
    stops.forEach(({ id, place }, number) => map.place(id, place.location, "stop", `Stop ${number + 1}: ${place.title}`, String(number + 1)));
    return () => {
      for (const id of [`${mark}pickup`, `${mark}dropoff`, ...stops.map(({ id }) => id)]) map.place(id, undefined, "stop", "");
    };
  }, [map, way]);

  /** The stops that have a place. */
  const stops = way.stops.flatMap(({ place }) => (place ? [place] : []));
  return { api, map, way, stops, active, setActive, get, put, putPoint, addStop, removeStop, moveStop };
}

function written(way: Way, spot: Spot, place: Place | undefined): Way {
  if (typeof spot === "number") {
    return { ...way, stops: way.stops.map((stop) => (stop.id === spot ? { id: spot, ...(place && { place }) } : stop)) };
  }
  const { [spot]: _, ...rest } = way;
  return place ? { ...rest, [spot]: place } : rest;
}

/** What changes when the way does, for effects. */
export const keyOf = (points: (Point | undefined)[]) => points.map((at) => `${at?.latitude},${at?.longitude}`).join(" ");

/** The fields of the way, in driving order. */
export function WayFields({ hand, from }: { hand: WayInHand; from: boolean }) {
  const { api, map, way, active, setActive, get, put } = hand;
  const [told, setTold] = useState("");
  const group = useRef<HTMLDivElement>(null);
  const mark = useId();
  const moved = useRef<number | undefined>(undefined);
  const known = useRef(way.stops.length);
  const added = way.stops.length > known.current;
  useEffect(() => {
    known.current = way.stops.length;
    // What is moved about in the page loses the focus.
    if (moved.current !== undefined) document.getElementById(`${mark}-${moved.current}`)?.focus();
    moved.current = undefined;
  });

  const field = (spot: Spot, label: string, placeholder: string, grab = false) => (
    <PlaceField
      api={api}
      label={label}
      placeholder={placeholder}
      value={get(spot)}
      active={active === spot}
      grab={grab}
      near={() => map?.centre()}
      chosen={(place) => put(spot, place)}
      focused={() => setActive(spot)}
    />
  );
  const move = (id: number, number: number, by: -1 | 1) => {
    hand.moveStop(id, by);
    moved.current = id;
    setTold(`Stop ${number} is stop ${number + by} now.`);
  };
  const remove = (id: number, number: number) => {
    hand.removeStop(id);
    setTold(`Stop ${number} is gone.`);
    group.current?.focus();
  };
  return (
    <div class="ends" role="group" aria-label="The way" tabIndex={-1} ref={group}>
      {from && field("pickup", "From", "A street, or tap the map")}
      {way.stops.map(({ id }, number) => (
        <div class="stop-row" key={id}>
          {field(id, `Stop ${number + 1}`, "A street, or tap the map", added && number === way.stops.length - 1)}
          {way.stops.length > 1 && (
            <button
              type="button"
              class="small"
              id={`${mark}-${id}`}
              onClick={() => move(id, number + 1, number ? -1 : 1)}
              aria-label={`Stop ${number + 1} one ${number ? "earlier" : "later"}`}
            >
              {number ? "↑" : "↓"}
            </button>
          )}
          <button type="button" class="small" onClick={() => remove(id, number + 1)} aria-label={`Without stop ${number + 1}`}>
            ✕
          </button>
        </div>
      ))}
      {field("dropoff", "To", "A street, or tap the map")}
      <span class="visually-hidden" role="status">
        {told}
      </span>
    </div>
  );
}

export function AddStop({ hand }: { hand: WayInHand }) {
  if (hand.way.stops.length >= STOPS_MAX) return <p class="small">That is as many stops as a ride may have.</p>;
  return (
    <button type="button" class="small" onClick={hand.addStop}>
      {hand.way.stops.length ? "Add another stop" : "Add a stop on the way"}
    </button>
  );
}
