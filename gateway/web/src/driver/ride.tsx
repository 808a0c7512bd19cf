// A ride that was taken: to the kerb, the PIN, the stops, the end, and what it brought.

import { useEffect, useRef, useState } from "preact/hooks";

import { type Api, Problem } from "../lib/api";
import { Ask } from "../lib/ask";
import { sumOf } from "../lib/fare";
import { isZero, minus, minutes, money, plus, time, way, when } from "../lib/format";
import type { CityMap, PlaceKind } from "../lib/map";
import { Notice, wordsOf } from "../lib/notice";
import { useReceipt } from "../lib/receipt";
import type { Money, Point, Receipt, Route, ServiceArea, Trip } from "../lib/types";
import { useNow, usePlaceName, useTrip } from "../lib/use";
import { metres, routeOf } from "./position";

interface Props {
  api: Api;
  area: ServiceArea;
  map: CityMap | undefined;
  tripId: string;
  /** It comes after, or beside, another one. */
  next: boolean;
  at: Point | undefined;
  /** Lets the car drive by itself, where that is tried out. */
  driveTo: ((to: Point) => void) | undefined;
  closed: () => void;
}

/** The way is computed anew when the car is this far from where it last was. */
const REROUTE_M = 120;

export function DriverRide({ api, area, map, tripId, next, at, driveTo, closed }: Props) {
  const [{ trip, live, problem }, take] = useTrip(api, tripId);
  const [route, setRoute] = useState<Route>();
  const target = trip && targetOf(trip);
  const routed = useRef<{ at: Point; to: string } | undefined>(undefined);
  useEffect(() => {
    if (!at || !target) return;
    const to = `${target.location.latitude} ${target.location.longitude}`;
    const before = routed.current;
    if (before?.to === to && metres(before.at, at) < REROUTE_M) return;
    if (before?.to !== to) setRoute(undefined);
    const now = { at, to };
    routed.current = now;
    // An answer that was overtaken by another is of no use.
    routeOf(api, [at, target.location]).then((found) => routed.current === now && setRoute(found), () => {});
  }, [api, at, target?.location.latitude, target?.location.longitude]);
  const fitted = useRef("");
  // What comes after the place that is driven to now.
  const after = trip ? comingAfter(trip) : [];
  const afterKey = after.map(({ name, location }) => `${name} ${location.latitude} ${location.longitude}`).join();
  useEffect(() => {
    if (!map) return;
    for (const { id, location, kind, name, sign } of after) map.place(id, location, kind, name, sign);
    return () => {
      for (const { id } of after) map.place(id, undefined, "stop", "");
    };
  }, [map, afterKey]);
  useEffect(() => {
    if (!map || !trip) return;
    if (!target) {
      map.route(undefined);
      return;
    }
    const { kind, sign } = target;
    map.place(`target-${kind}`, target.location, kind, target.name, sign);
    map.route(route?.line);
    const now = `${target.name} ${target.location.latitude} ${target.location.longitude} ${Boolean(route)}`;
    if (fitted.current !== now) {
      fitted.current = now;
      map.fit([target.location, ...(at ? [at] : []), ...(route?.line ?? [])]);
    }
  }, [map, trip, route, target?.name, target?.location.latitude, target?.location.longitude]);
  useEffect(() => {
    if (!map) return;
    return () => map.route(undefined);
  }, [map]);
  useEffect(() => {
    if (!map || !target) return;
    // Each kind of place has its own form on the map.
    return () => map.place(`target-${target.kind}`, undefined, target.kind, "");
  }, [map, target?.kind]);

  if (!trip) return problem ? <Notice tone="bad">{problem}</Notice> : <p class="lead">One moment …</p>;
  if (trip.state === "TRIP_STATE_COMPLETED") return <Brought api={api} trip={trip} closed={closed} />;
  const title = area.products.find(({ product }) => product === trip.product)?.title ?? trip.product;
  return (
    <section class="stack" aria-label={next ? "The next ride" : "The ride"} data-test="ride" data-state={trip.state}>
      {!live && <Notice tone="warn">What you see may be old; connecting again …</Notice>}
      {next && <p class="small">After or beside the one before</p>}
      <WayChanged api={api} trip={trip} />
      <Leg api={api} trip={trip} route={route} at={at} />
      {target && trip.state !== "TRIP_STATE_DRIVER_ARRIVED" && <Streets route={route} />}
      {trip.pickupAt && !trip.startedAt && <p data-test="booked-for">Booked ahead: the rider expects you at {when(trip.pickupAt)}.</p>}
      {trip.stops.length > 0 && <Stops api={api} trip={trip} />}
      <p class="small">
        {title}, {trip.seats > 1 ? `${trip.seats} riders` : "one rider"}, {money(trip.fare)}
        {trip.paymentMethod === "PAYMENT_METHOD_CASH" && ", paid to you in cash"}
      </p>
      {driveTo && target && <button onClick={() => driveTo(target.location)}>Let the car drive there by itself</button>}
      <Act api={api} trip={trip} took={take} />
      {!trip.startedAt && <GiveBack api={api} trip={trip} />}
    </section>
  );
}

interface Target {
  location: Point;
  name: string;
  kind: PlaceKind;
  /** What stands in it on the map. */
  sign: string;
}

function targetOf(trip: Trip): Target | undefined {
  if (trip.endedAt) return undefined;
  if (!trip.startedAt) return { location: trip.pickup, name: "Pick-up", kind: "pickup", sign: "" };
  const stop = trip.stops.findIndex(({ arrivedAt }) => !arrivedAt);
  const ahead = trip.stops[stop];
  if (ahead) return { location: ahead.location, name: `Stop ${stop + 1}`, kind: "stop", sign: String(stop + 1) };
  return { location: trip.dropoff, name: "Destination", kind: "dropoff", sign: "" };
}

/** The places of the ride after the next one, for the map. */
function comingAfter(trip: Trip) {
  if (trip.endedAt) return [];
  const target = targetOf(trip);
  const stops = trip.stops.flatMap(({ location, arrivedAt }, number) =>
    arrivedAt ? [] : [{ id: `after-${number}`, location, kind: "stop" as const, name: `Stop ${number + 1}`, sign: String(number + 1) }],
  );
  const end = { id: "after-end", location: trip.dropoff, kind: "dropoff" as const, name: "Destination", sign: "" };
  return [...stops, end].filter(({ name }) => name !== target?.name);
}

/** The stops and the destination, and which of them are behind. */
function Stops({ api, trip }: { api: Api; trip: Trip }) {
  return (
    <ol class="facts" aria-label="The way with the rider" data-test="stops">
      {trip.stops.map((stop, number) => (
        <Place key={number} api={api} name={`Stop ${number + 1}`} location={stop.location} reachedAt={stop.arrivedAt} />
      ))}
      <Place api={api} name="Then to" location={trip.dropoff} />
    </ol>
  );
}

function Place({ api, name, location, reachedAt }: { api: Api; name: string; location: Point; reachedAt?: string | undefined }) {
  const place = usePlaceName(api, location);
  return (
    <li>
      <span class="small">{name}</span>
      <span>
        {place} {reachedAt && <span class="small">there at {time(reachedAt)}</span>}
      </span>
    </li>
  );
}

/** The streets to drive by, in their order. */
function Streets({ route }: { route: Route | undefined }) {
  const streets = route?.steps.filter(({ distanceMeters }) => Number(distanceMeters) > 0) ?? [];
  const main = streets.filter(({ street }) => street).sort((a, b) => Number(b.distanceMeters) - Number(a.distanceMeters))[0];
  if (!main) return null;
  return (
    <details data-test="streets">
      <summary>By {main.street}</summary>
      <ol class="facts" aria-label="The streets to drive by">
        {streets.map(({ street, distanceMeters }, number) => (
          <li key={number}>
            <span>{street || "A road without a name"}</span>
            <span class="small">{way(distanceMeters)}</span>
          </li>
        ))}
      </ol>
    </details>
  );
}

/** Says that the rider wants to go elsewhere now. */
function WayChanged({ api, trip }: { api: Api; trip: Trip }) {
  const known = useRef<{ to: Point; stops: number; places: string } | undefined>(undefined);
  const [told, setTold] = useState<{ to: Point; only: boolean }>();
  const places = [...trip.stops.map(({ location }) => location), trip.dropoff].map(({ latitude, longitude }) => `${latitude} ${longitude}`).join();
  useEffect(() => {
    const before = known.current;
    known.current = { to: trip.dropoff, stops: trip.stops.length, places };
    if (!before || before.places === places) return;
    const same = before.to.latitude === trip.dropoff.latitude && before.to.longitude === trip.dropoff.longitude;
    setTold({ to: trip.dropoff, only: same });
  }, [places]);
  const name = usePlaceName(api, told?.to);
  if (!told) return null;
  return (
    <Notice tone="warn">
      {told.only ? "The rider changed the stops on the way." : `The rider goes elsewhere now: to ${name || "another place"}.`} The fare is {money(trip.fare)}.
      <button class="small quiet" onClick={() => setTold(undefined)}>
        Seen
      </button>
    </Notice>
  );
}

function Leg({ api, trip, route, at }: { api: Api; trip: Trip; route: Route | undefined; at: Point | undefined }) {
  const target = targetOf(trip);
  const name = usePlaceName(api, target?.location);
  const there = at && target && metres(at, target.location) < 60;
  const waiting = trip.state === "TRIP_STATE_DRIVER_ARRIVED";
  const now = useNow(1_000, waiting);
  if (waiting) {
    const seconds = trip.arrivedAt ? Math.max(0, Math.floor((now - Date.parse(trip.arrivedAt)) / 1000)) : 0;
    return (
      <header class="stack" aria-live="polite">
        <h1>Waiting for the rider</h1>
        <p class="lead">
          At {name}, for{" "}
          <span class="num">
            {Math.floor(seconds / 60)}:{String(seconds % 60).padStart(2, "0")}
          </span>
          . Ask for the PIN.
        </p>
      </header>
    );
  }
  const goal = trip.startedAt ? (target?.name === "Destination" ? "Drive to the destination" : `Drive to ${target?.name.toLowerCase()}`) : "Drive to the pick-up";
  return (
    <header class="stack" aria-live="polite">
      <h1>{there ? `You are at ${name || "the place"}` : goal}</h1>
      <p class="lead">
        {name}
        {route && !there && `, ${minutes(route.durationMs)}, ${way(route.distanceMeters)}`}
      </p>
    </header>
  );
}

/** The one thing to do next. */
function Act({ api, trip, took }: { api: Api; trip: Trip; took: (trip: Trip) => void }) {
  const [pin, setPin] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const field = useRef<HTMLInputElement>(null);
  const say = async (path: string, body: unknown = {}) => {
    setBusy(true);
    setProblem("");
    try {
      took((await api.post<{ trip: Trip }>(`/v1/trips/${trip.tripId}${path}`, body)).trip);
    } catch (error) {
      const until = error instanceof Problem && error.reason === "TOO_EARLY" ? error.metadata["until"] : undefined;
      setProblem(until ? `The rider may come until ${time(until)}.` : wordsOf(error));
      if (error instanceof Problem && error.reason === "WRONG_PIN") {
        setPin("");
        field.current?.focus();
      }
    } finally {
      setBusy(false);
    }
  };
  const stop = trip.stops.findIndex(({ arrivedAt }) => !arrivedAt);
  return (
    <>
      {problem && <Notice tone="bad">{problem}</Notice>}
      {trip.state === "TRIP_STATE_ASSIGNED" && (
        <button class="primary" disabled={busy} onClick={() => void say(":arrive")}>
          I am at the pick-up
        </button>
      )}
      {trip.state === "TRIP_STATE_DRIVER_ARRIVED" && (
        <form
          class="stack"
          onSubmit={(event) => {
            event.preventDefault();
            void say(":start", { pin: pin.trim() });
          }}
        >
          <label class="field">
            The rider's PIN
            <input
              ref={field}
              class="digits"
              inputMode="numeric"
              autocomplete="off"
              required
              maxLength={8}
              value={pin}
              onInput={({ currentTarget }) => setPin(currentTarget.value)}
            />
          </label>
          <button class="primary" disabled={busy}>
            Begin the ride
          </button>
          <button type="button" class="quiet" disabled={busy} onClick={() => void say(":noShow")}>
            The rider does not come
          </button>
        </form>
      )}
      {trip.state === "TRIP_STATE_IN_PROGRESS" &&
        (stop >= 0 ? (
          <button class="primary" disabled={busy} onClick={() => void say(`/stops/${stop}:arrive`)}>
            We are at stop {stop + 1}
          </button>
        ) : (
          <button class="primary" disabled={busy} onClick={() => void say(":complete")}>
            We have arrived
          </button>
        ))}
    </>
  );
}

function GiveBack({ api, trip }: { api: Api; trip: Trip }) {
  const [open, setOpen] = useState(false);
  const [problem, setProblem] = useState("");
  const giveBack = async () => {
    setProblem("");
    try {
      await api.post(`/v1/trips/${trip.tripId}:cancel`, { reason: "" });
      setOpen(false);
    } catch (error) {
      setProblem(wordsOf(error));
    }
  };
  return (
    <>
      <button class="quiet" onClick={() => setOpen(true)}>
        Give the ride back
      </button>
      {open && (
        <Ask title="Give the ride back?" closed={() => setOpen(false)}>
          <p>Another driver is looked for. The rider sees that you do not come.</p>
          {problem && <Notice tone="bad">{problem}</Notice>}
          <button class="danger" onClick={giveBack}>
            Give it back
          </button>
          <button class="primary" onClick={() => setOpen(false)}>
            Keep it
          </button>
        </Ask>
      )}
    </>
  );
}

/** What a ride brought its driver. */
function Brought({ api, trip, closed }: { api: Api; trip: Trip; closed: () => void }) {
  const [receipt, problem] = useReceipt(api, trip);
  const tips = receipt?.lines.filter(({ kind }) => kind === "FARE_LINE_KIND_TIP").map(({ amount }) => amount) ?? [];
  // What the rider had taken off is not taken off the driver's share.
  const off = receipt?.lines.filter(({ kind }) => kind === "FARE_LINE_KIND_PROMOTION").map(({ amount }) => amount) ?? [];
  const whole = receipt && off.reduce(minus, receipt.fare ?? receipt.total);
  const all = receipt?.driverShare && tips.reduce(plus, receipt.driverShare);
  return (
    <section class="stack" data-test="brought" aria-live="polite">
      <h1>The ride is done</h1>
      {problem && <Notice tone="bad">{problem}</Notice>}
      {!receipt && !problem && <p role="status">Reckoning …</p>}
      {receipt && (
        <div class="card stack">
          <div class="spread">
            <h2>For you</h2>
            <span class="big">{money(all)}</span>
          </div>
          <p class="small">
            Your share of {money(whole)}
            {off.length > 0 && " (the rider's promotion is the city's cost)"}
            {tips.length > 0 && ", and the tip"}. {way(trip.drivenMeters ?? trip.distanceMeters)}.
          </p>
          <Rest receipt={receipt} />
          {!isZero(receipt.cash) && <Notice tone="info">You took {money(receipt.cash)} in cash.</Notice>}
        </div>
      )}
      <Rate api={api} trip={trip} />
      <button class="primary" onClick={closed}>
        On to the next
      </button>
    </section>
  );
}

/** Where the rest of the fare goes. */
function Rest({ receipt }: { receipt: Receipt }) {
  const { lines, driverShare } = receipt;
  const ride = sumOf(lines, (kind) => !["BOOKING_FEE", "TAX", "TIP", "PROMOTION", "DUES"].includes(kind));
  const parts: [string, Money | undefined][] = [
    ["The city's share of the ride", ride && driverShare && minus(ride, driverShare)],
    ["The city's booking fee", sumOf(lines, (kind) => kind === "BOOKING_FEE")],
    ["Tax", sumOf(lines, (kind) => kind === "TAX")],
  ];
  return (
    <dl class="lines small" data-test="rest">
      {parts.map(
        ([name, amount]) =>
          !isZero(amount) && (
            <div key={name}>
              <dt>{name}</dt>
              <dd class="num">{money(amount)}</dd>
            </div>
          ),
      )}
    </dl>
  );
}

function Rate({ api, trip }: { api: Api; trip: Trip }) {
  const [told, setTold] = useState("");
  const rate = async (stars: number) => {
    try {
      await api.post(`/v1/trips/${trip.tripId}:rate`, { stars, comment: "" });
      setTold("Noted.");
    } catch (error) {
      setTold(wordsOf(error));
    }
  };
  if (told) return <p role="status">{told}</p>;
  return (
    <div class="row wrap" role="group" aria-label="How was the rider?">
      <span class="grow">How was the rider?</span>
      <button class="small" onClick={() => void rate(5)}>
        Good
      </button>
      <button class="small" onClick={() => void rate(1)}>
        Not good
      </button>
    </div>
  );
}
