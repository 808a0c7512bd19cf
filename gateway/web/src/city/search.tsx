// Finds a ride, a driver, a rider or a street from what somebody types or pastes.

import { useEffect, useId, useRef, useState } from "preact/hooks";

import { type Api, Problem } from "../lib/api";
import { go } from "../lib/place-in-page";
import type { Point, Trip } from "../lib/types";
import type { Fleet } from "./fleet";
import { short, stateWords } from "./words";

interface Found {
  key: string;
  kind: "Ride" | "Driver" | "Rider" | "Street";
  title: string;
  told: string;
  open: () => void;
}

interface Props {
  api: Api;
  fleet: Fleet;
  near: () => Point | undefined;
  show: (place: Point) => void;
}

const WAIT_MS = 220;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

export function Search({ api, fleet, near, show }: Props) {
  const [text, setText] = useState("");
  const [found, setFound] = useState<Found[]>();
  const [chosen, setChosen] = useState(0);
  const input = useRef<HTMLInputElement>(null);
  const list = useId();

  useEffect(() => {
    const wanted = text.trim();
    if (!wanted) return setFound(undefined);
    const stop = new AbortController();
    const timer = setTimeout(() => {
      void look(api, fleet, wanted, near(), show, stop.signal).then((list) => {
        if (stop.signal.aborted) return;
        setFound(list);
        setChosen(0);
      });
    }, WAIT_MS);
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [text]);
  // The slash is where the eyes are already.
  useEffect(() => {
    const key = (event: KeyboardEvent) => {
      const typing = event.target instanceof HTMLElement && /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
      if (event.key !== "/" || typing) return;
      event.preventDefault();
      input.current?.focus();
    };
    addEventListener("keydown", key);
    return () => removeEventListener("keydown", key);
  }, []);

  const close = () => {
    setText("");
    setFound(undefined);
  };
  const open = (one: Found | undefined) => {
    if (!one) return;
    one.open();
    close();
  };
  const isOpen = found !== undefined;
  return (
    <search class="finder">
      <input
        ref={input}
        type="text"
        role="combobox"
        inputMode="search"
        aria-label="Find a ride, driver, rider or street"
        aria-expanded={isOpen}
        aria-controls={list}
        aria-autocomplete="list"
        aria-activedescendant={isOpen && found.length ? `${list}-${chosen}` : undefined}
        placeholder="Ride, driver, rider or street   /"
        autocomplete="off"
        spellcheck={false}
        value={text}
        onInput={({ currentTarget }) => setText(currentTarget.value)}
        onBlur={() => setTimeout(() => setFound(undefined), 150)}
        onKeyDown={(event) => {
          const count = found?.length ?? 0;
          if (event.key === "ArrowDown" && count) setChosen((chosen + 1) % count);
          else if (event.key === "ArrowUp" && count) setChosen((chosen + count - 1) % count);
          else if (event.key === "Enter") open(found?.[chosen]);
          else if (event.key === "Escape") close();
          else return;
          event.preventDefault();
        }}
      />
      <ul id={list} role="listbox" aria-label="What was found" hidden={!isOpen}>
        {found?.map((one, number) => (
          <li
            key={one.key}
            id={`${list}-${number}`}
            role="option"
            aria-selected={number === chosen}
            onPointerDown={(event) => {
              event.preventDefault();
              open(one);
            }}
          >
            <span class="kind">{one.kind}</span>
            <span class="grow">{one.title}</span>
            <span class="small">{one.told}</span>
          </li>
        ))}
      </ul>
      <p class={found?.length === 0 ? "none" : "visually-hidden"} role="status">
        {isOpen && (found.length ? `${found.length} found` : "Nothing found. Paste the whole id of a ride, a driver or a rider.")}
      </p>
    </search>
  );
}

async function look(api: Api, fleet: Fleet, text: string, near: Point | undefined, show: Props["show"], signal: AbortSignal): Promise<Found[]> {
  const id = encodeURIComponent(text);
  const quiet = <T,>(asked: Promise<T>): Promise<T | undefined> =>
    asked.catch((error) => {
      if (error instanceof Problem || signal.aborted) return undefined;
      throw error;
    });
  const ride = (trip: Trip): Found => ({
    key: trip.tripId,
    kind: "Ride",
    title: short(trip.tripId),
    told: stateWords(trip.state)[0],
    open: () => go(`trips/${trip.tripId}`),
  });
  const driver = (driverId: string, told = ""): Found => ({
    key: `d${driverId}`,
    kind: "Driver",
    title: driverId,
    told,
    open: () => go(`drivers/${encodeURIComponent(driverId)}`),
  });
  if (UUID.test(text)) {
    const found = await quiet(api.get<{ trip: Trip }>(`/v1/trips/${id}`, undefined, signal));
    return found ? [ride(found.trip)] : [];
  }
  const isName = /^[\w.-]{1,64}$/.test(text);
  const place = near && { "near.latitude": near.latitude, "near.longitude": near.longitude };
  const [known, rides, places] = await Promise.all([
    // A driver who is not on shift is known by their rides.
    isName ? quiet(api.get<{ trips: Trip[] }>("/v1/trips", { driverId: text, pageSize: 1 }, signal)) : undefined,
    isName ? quiet(api.get<{ trips: Trip[] }>("/v1/trips", { riderId: text, pageSize: 3 }, signal)) : undefined,
    quiet(api.get<{ places: { title: string; location: Point }[] }>("/v1/places:search", { query: text, limit: 5, ...place }, signal)),
  ]);
  const found: Found[] = [];
  const isOnShift = fleet.handle(text) !== undefined;
  if (isOnShift || known?.trips.length) found.push(driver(text, isOnShift ? "on shift" : "not seen here now"));
  if (rides?.trips.length) {
    found.push({ key: `r${text}`, kind: "Rider", title: text, told: "rides and balance", open: () => go(`riders/${id}`) });
    found.push(...rides.trips.map(ride));
  }
  for (const near of fleet.find(text, 5)) if (near !== text) found.push(driver(near, "on shift"));
  for (const street of places?.places ?? []) {
    found.push({ key: `s${street.title}`, kind: "Street", title: street.title, told: "", open: () => show(street.location) });
  }
  return found;
}
