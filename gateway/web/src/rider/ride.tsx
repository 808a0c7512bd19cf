// A ride: where the driver is, what to tell them, and what became of it.

import { useEffect, useRef, useState } from "preact/hooks";

import { type Api, Problem } from "../lib/api";
import { Ask } from "../lib/ask";
import { day, isZero, minutes, money, time, when } from "../lib/format";
import type { CityMap } from "../lib/map";
import { Notice, wordsOf } from "../lib/notice";
import type { DriverPosition, Money, Point, ServiceArea, Trip, TripStop } from "../lib/types";
import { placeName, sentence, useNow, usePlaceName, useTrip } from "../lib/use";
import { After } from "./after";
import { Elsewhere, mayGoElsewhere } from "./elsewhere";
import { forgetCode, Promotion, type PromotionOfRide, usePromotion } from "./promotion";
import { keyOf, type Tapped } from "./way";

interface Props {
  api: Api;
  area: ServiceArea;
  map: CityMap | undefined;
  tapped: Tapped;
  tripId: string;
}

const isOver = (trip: Trip) => Boolean(trip.endedAt);

/** How often it is asked in which street the car is. */
const STREET_EVERY_MS = 8_000;

/** More stops than any city has been seen to allow. */
const STOPS_SHOWN_MAX = 20;

/** A position older than this is not where the car is. */
const OLD_MS = 30_000;

export function Ride({ api, area, map, tapped, tripId }: Props) {
  const [{ trip, position, live, problem }, take] = useTrip(api, tripId);
  useShownOnMap(api, map, trip, position);
  const promotion = usePromotion(api, trip);
  const street = useStreet(api, trip?.state === "TRIP_STATE_ASSIGNED" ? position?.location : undefined);
  const [moving, setMoving] = useState(false);
  const [told, setTold] = useState("");
  const over = Boolean(trip && isOver(trip));
  useEffect(() => {
    if (over) forgetCode(tripId);
  }, [over]);
  const title = area.products.find(({ product }) => product === trip?.product)?.title ?? trip?.product ?? "";
  if (!trip) return problem ? <Notice tone="bad">{problem}</Notice> : <p class="lead">One moment …</p>;
  if (isOver(trip)) return <After api={api} trip={trip} product={title} />;
  if (moving && mayGoElsewhere(trip)) {
    const closed = (told = "") => {
      setTold(told);
      setMoving(false);
    };
    return (
      <>
        <Standing trip={trip} position={position} street={street} />
        <Elsewhere api={api} map={map} tapped={tapped} trip={trip} hasPromotion={Boolean(promotion.applied)} took={take} closed={closed} />
      </>
    );
  }
  return (
    <>
      {!live && <Notice tone="warn">The connection broke. What you see may be old; connecting again …</Notice>}
      {problem && <Notice tone="bad">{problem}</Notice>}
      <Standing trip={trip} position={position} street={street} />
      <Steps trip={trip} />
      {trip.driver && <Car trip={trip} />}
      {trip.pin && !trip.startedAt && trip.driver && (
        <section class="pin card" aria-label="PIN">
          <div>
            <h2>Your PIN</h2>
            <p class="small">Tell it the driver once you sit in the right car.</p>
          </div>
          <output class="big" data-test="pin">
            {trip.pin}
          </output>
        </section>
      )}
      <Facts api={api} trip={trip} product={title} promotion={promotion} />
      <Promotion promotion={promotion} />
      {told && <Notice tone="good">{told}</Notice>}
      {mayGoElsewhere(trip) && <button onClick={() => setMoving(true)}>Change where I go</button>}
      {trip.driver && <Share api={api} trip={trip} />}
      <div class="row wrap">
        {!trip.startedAt && <CallOff api={api} trip={trip} took={take} />}
        {trip.driver && <Help api={api} trip={trip} />}
      </div>
    </>
  );
}

function useShownOnMap(api: Api, map: CityMap | undefined, trip: Trip | undefined, position: DriverPosition | undefined) {
  const fitted = useRef("");
  const [line, setLine] = useState<{ for: string; line: Trip["pickup"][] }>();
  // The way of the ride; the trip only says where it begins and ends.
  useEffect(() => {
    if (!trip) return;
    const points = [trip.pickup, ...trip.stops.map(({ location }) => location), trip.dropoff];
    let current = true;
    api
      .post<{ route?: { line: Trip["pickup"][] } }>("/v1/routes:compute", { points })
      .then(({ route }) => current && setLine({ for: trip.tripId, line: route?.line ?? [] }))
      .catch(() => current && setLine({ for: trip.tripId, line: points }));
    return () => void (current = false);
  }, [api, trip?.tripId, trip && keyOf([...trip.stops.map(({ location }) => location), trip.dropoff])]);
  useEffect(() => {
    if (!map || !trip) return;
    map.place("pickup", trip.startedAt ? undefined : trip.pickup, "pickup", "Pick-up");
    map.place("dropoff", trip.dropoff, "dropoff", "Destination");
    for (let n = 0; n < STOPS_SHOWN_MAX; n += 1) {
      const stop = trip.stops[n];
      map.place(`stop-${n}`, stop?.arrivedAt ? undefined : stop?.location, "stop", `Stop ${n + 1}`, String(n + 1));
    }
    const at = trip.driver && !isOver(trip) ? position?.location : undefined;
    map.car("car", at, position?.headingDegrees, `The car, ${trip.driver?.plate ?? ""}`);
    // Looked at anew when something has changed, not with every metre: people move the map themselves.
    const now = `${trip.tripId} ${trip.state} ${Boolean(at)} ${line?.line.length ?? 0}`;
    if (fitted.current !== now) {
      fitted.current = now;
      const stops = trip.stops.filter(({ arrivedAt }) => !arrivedAt).map(({ location }) => location);
      const ahead = trip.startedAt ? [...stops, trip.dropoff] : [trip.pickup];
      map.fit([...ahead, ...(at ? [at] : (line?.line ?? [trip.pickup, trip.dropoff]))]);
    }
  }, [map, trip, position, line]);
  useEffect(() => {
    if (map && line) map.route(line.line);
  }, [map, line]);
  useEffect(() => {
    if (!map) return;
    return () => {
      map.route(undefined);
      map.car("car", undefined);
      for (const id of ["pickup", "dropoff"]) map.place(id, undefined, "stop", "");
      for (let n = 0; n < STOPS_SHOWN_MAX; n += 1) map.place(`stop-${n}`, undefined, "stop", "");
    };
  }, [map]);
}

/** The street where the car is, for those who do not see the map. It is asked for now and then, not with every
 * metre. */
function useStreet(api: Api, at: Point | undefined): string {
  const [street, setStreet] = useState("");
  const askedAt = useRef(0);
  useEffect(() => {
    if (!at) return setStreet("");
    if (Date.now() - askedAt.current < STREET_EVERY_MS) return;
    askedAt.current = Date.now();
    let current = true;
    void placeName(api, at).then((name) => current && setStreet(name));
    return () => void (current = false);
  }, [api, at?.latitude, at?.longitude]);
  return street;
}

/** The one sentence that people look for. */
function Standing({ trip, position, street }: { trip: Trip; position: DriverPosition | undefined; street: string }) {
  const now = useNow(1_000);
  const eta = position?.etaMs === undefined ? "" : minutes(position.etaMs);
  const age = position?.locatedAt ? now - Date.parse(position.locatedAt) : 0;
  const old = age > OLD_MS ? ` The car was last heard of ${minutes(age)} ago.` : "";
  const booked = trip.pickupAt ? `For ${when(trip.pickupAt)}, as you booked. ` : "";
  const [title, told] = words();
  function words(): [string, string] {
    switch (trip.state) {
      case "TRIP_STATE_SCHEDULED":
        return [`Your ride is booked for ${day(trip.pickupAt)}`, "We look for a driver in time for it. Nothing is charged before; this page says when we begin."];
      case "TRIP_STATE_SEARCHING":
        return ["Looking for a driver", `${booked}The nearest drivers are asked, one after the other. Nothing is charged if nobody comes.`];
      case "TRIP_STATE_OFFERED":
        return ["A driver is thinking about it", "They have a few seconds to answer; then the next one is asked."];
      case "TRIP_STATE_ASSIGNED": {
        const late = trip.pickupDueAt && now > Date.parse(trip.pickupDueAt) + 60_000;
        const due = trip.pickupDueAt ? `${booked}They said they would be there at ${time(trip.pickupDueAt)}.` : "";
        return [eta ? `Your driver is ${eta} away` : "Your driver is on the way", `${late ? `They are late. ${due}` : due}${street && ` The car is at ${street}.`}${old}`];
      }
      case "TRIP_STATE_DRIVER_ARRIVED":
        return ["Your driver is here", `They have waited since ${time(trip.arrivedAt)}. Look for the number plate.`];
      default:
        return [wayWords(trip, eta), `${stopWords(trip)}${old}`.trim()];
    }
  }
  const waits = trip.state === "TRIP_STATE_SEARCHING" || trip.state === "TRIP_STATE_OFFERED";
  return (
    <header class="stack standing" data-test="standing" data-state={trip.state}>
      <div aria-live="polite">
        <h1>{title}</h1>
      </div>
      {told && <p class="lead">{told}</p>}
      {waits && !trip.pickupAt && <Waiting since={trip.createdAt} now={now} />}
    </header>
  );
}

/** What is reached next, and when: the time told is that to the next stop, where there is one. */
function wayWords(trip: Trip, eta: string): string {
  const next = trip.stops.findIndex(({ arrivedAt }) => !arrivedAt);
  if (!eta) return "You are on the way";
  return next < 0 ? `You are there in ${eta}` : `You are at stop ${next + 1} in ${eta}`;
}

function stopWords(trip: Trip): string {
  const ahead = trip.stops.filter(({ arrivedAt }) => !arrivedAt).length;
  if (!ahead) return "";
  return ahead === 1 ? "From there it goes to the destination." : `${ahead} stops are ahead, then the destination.`;
}

function Waiting({ since, now }: { since: string; now: number }) {
  const seconds = Math.max(0, Math.floor((now - Date.parse(since)) / 1000));
  return (
    <div class="waiting">
      <span class="pulse" aria-hidden="true" />
      <span class="num">
        {Math.floor(seconds / 60)}:{String(seconds % 60).padStart(2, "0")}
      </span>
      <span class="small">since you asked</span>
    </div>
  );
}

const STEPS: [string, string, string[]][] = [
  ["Asked", "createdAt", ["SCHEDULED", "SEARCHING", "OFFERED"]],
  ["Driver found", "assignedAt", ["ASSIGNED"]],
  ["At the kerb", "arrivedAt", ["DRIVER_ARRIVED"]],
  ["On board", "startedAt", ["IN_PROGRESS"]],
];

export function Steps({ trip }: { trip: Trip }) {
  const current = STEPS.findIndex(([, , states]) => states.includes(trip.state.replace("TRIP_STATE_", "")));
  return (
    <ol class="steps" aria-label="How far the ride is">
      {STEPS.map(([name, at], number) => {
        const then = trip[at as keyof Trip] as string | undefined;
        return (
          <li key={name} class={number <= current ? "done" : ""} aria-current={number === current ? "step" : undefined}>
            <span>{number === 0 && trip.pickupAt ? "Booked" : name}</span>
            <span class="small num">{number <= current ? when(then) : ""}</span>
          </li>
        );
      })}
    </ol>
  );
}

function Car({ trip }: { trip: Trip }) {
  return (
    <section class="card car-card" aria-label="The car">
      <div class="grow">
        <p class="small">{trip.startedAt ? "You are in" : "Look for"}</p>
        <p>
          <strong>{trip.driver?.vehicle || "A car"}</strong>
        </p>
      </div>
      {trip.driver?.plate && <span class="plate">{trip.driver.plate}</span>}
    </section>
  );
}

function Facts({ api, trip, product, promotion }: { api: Api; trip: Trip; product: string; promotion: PromotionOfRide }) {
  const from = usePlaceName(api, trip.pickup);
  const to = usePlaceName(api, trip.dropoff);
  const cash = trip.paymentMethod === "PAYMENT_METHOD_CASH";
  const then = trip.state === "TRIP_STATE_SCHEDULED" ? "set aside once we look for a driver" : "set aside, taken when you arrive";
  return (
    <dl class="facts" data-test="facts">
      <div>
        <dt>From</dt>
        <dd>{from}</dd>
      </div>
      {trip.stops.map((stop, number) => (
        <StopFact key={number} api={api} stop={stop} number={number + 1} />
      ))}
      <div>
        <dt>To</dt>
        <dd>{to}</dd>
      </div>
      <div>
        <dt>{product}</dt>
        <dd>
          {money(promotion.applied?.fare ?? trip.fare)} <span class="small">{cash ? "in cash, to the driver" : then}</span>
        </dd>
      </div>
    </dl>
  );
}

function StopFact({ api, stop, number }: { api: Api; stop: TripStop; number: number }) {
  const name = usePlaceName(api, stop.location);
  return (
    <div>
      <dt>Stop {number}</dt>
      <dd>
        {name} {stop.arrivedAt && <span class="small">you were there at {time(stop.arrivedAt)}</span>}
      </dd>
    </div>
  );
}

function Share({ api, trip }: { api: Api; trip: Trip }) {
  const [link, setLink] = useState("");
  const [until, setUntil] = useState("");
  const [told, setTold] = useState("");
  const share = async () => {
    try {
      const { token, expiresAt } = await api.post<{ token: string; expiresAt: string }>(`/v1/trips/${trip.tripId}:share`);
      const made = `${location.origin}/share#trip=${trip.tripId}&token=${token}`;
      setLink(made);
      setUntil(expiresAt);
      setTold("");
      if (navigator.share && matchMedia("(pointer: coarse)").matches) {
        await navigator.share({ title: "Where I am", url: made }).catch(() => {});
      }
    } catch (error) {
      setTold(wordsOf(error));
    }
  };
  const unshare = async () => {
    try {
      await api.post(`/v1/trips/${trip.tripId}:unshare`);
      setLink("");
      setTold("The links show nothing any more.");
    } catch (error) {
      setTold(wordsOf(error));
    }
  };
  const copy = async () => {
    await navigator.clipboard.writeText(link).then(
      () => setTold("Copied."),
      () => setTold("Copy it from the field."),
    );
  };
  return (
    <section class="stack" aria-label="Share this ride">
      {!link && <button onClick={share}>Share where I am</button>}
      {link && (
        <>
          <label class="field">
            Whoever has this link sees the car, no names and no money, until {time(until)} at the latest
            <input readOnly value={link} data-test="share-link" onFocus={({ currentTarget }) => currentTarget.select()} />
          </label>
          <div class="row">
            <button class="small grow" onClick={copy}>
              Copy the link
            </button>
            <button class="small grow" onClick={unshare}>
              Stop sharing
            </button>
          </div>
        </>
      )}
      <p class="small" role="status">
        {told}
      </p>
    </section>
  );
}

interface Preview {
  fee?: Money;
  reason: string;
  freeUntil?: string;
}

function CallOff({ api, trip, took }: { api: Api; trip: Trip; took: (trip: Trip) => void }) {
  const [preview, setPreview] = useState<Preview>();
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);
  const ask = async () => {
    setProblem("");
    try {
      setPreview(await api.get<Preview>(`/v1/trips/${trip.tripId}:previewCancellation`));
    } catch (error) {
      setProblem(wordsOf(error));
    }
  };
  const callOff = async () => {
    if (!preview) return;
    setBusy(true);
    setProblem("");
    const nothing = { currencyCode: trip.fare?.currencyCode ?? "EUR", minorUnits: "0" };
    try {
      const body = { reason: "", maxFee: preview.fee ?? nothing };
      took((await api.post<{ trip: Trip }>(`/v1/trips/${trip.tripId}:cancel`, body)).trip);
      setPreview(undefined);
    } catch (error) {
      setProblem(wordsOf(error));
      // It has become dearer meanwhile: ask again, with what it costs now.
      if (error instanceof Problem && error.reason === "FEE_ABOVE_LIMIT") await ask();
    } finally {
      setBusy(false);
    }
  };
  return (
    <>
      <button class="danger grow" onClick={ask}>
        Call the ride off
      </button>
      {problem && !preview && <Notice tone="bad">{problem}</Notice>}
      {preview && (
        <Ask title="Call the ride off?" closed={() => setPreview(undefined)}>
          {isZero(preview.fee) ? (
            <Notice tone="good">
              <strong>It costs nothing:</strong> {preview.reason}.{preview.freeUntil && ` Until ${when(preview.freeUntil)}.`}
            </Notice>
          ) : (
            <Notice tone="warn">
              <strong>It costs {money(preview.fee)}:</strong> {preview.reason}.
            </Notice>
          )}
          {problem && <Notice tone="bad">{problem}</Notice>}
          <button class="danger" disabled={busy} onClick={callOff}>
            {isZero(preview.fee) ? "Call it off" : `Call it off for ${money(preview.fee)}`}
          </button>
          <button class="primary" onClick={() => setPreview(undefined)}>
            Keep the ride
          </button>
        </Ask>
      )}
    </>
  );
}

function Help({ api, trip }: { api: Api; trip: Trip }) {
  const [open, setOpen] = useState(false);
  const [note, setNote] = useState("");
  const [told, setTold] = useState("");
  const [problem, setProblem] = useState("");
  const call = async (event: Event) => {
    event.preventDefault();
    setProblem("");
    try {
      await api.post(`/v1/trips/${trip.tripId}:sos`, { note });
      setTold("The city's operators have your call.");
      setOpen(false);
    } catch (error) {
      setProblem(wordsOf(error));
    }
  };
  return (
    <>
      <button class="grow" onClick={() => setOpen(true)}>
        Call for help
      </button>
      {told && <Notice tone="good">{told}</Notice>}
      {open && (
        <Ask title="Call the operators for help?" closed={() => setOpen(false)}>
          <form class="stack" onSubmit={call}>
            <p>In danger, call the emergency services first.</p>
            <label class="field">
              What is the matter? You may leave it empty
              <input maxLength={500} value={note} onInput={({ currentTarget }) => setNote(currentTarget.value)} />
            </label>
            {problem && <Notice tone="bad">{sentence(problem)}</Notice>}
            <button class="danger">Call them</button>
            <button type="button" class="primary" onClick={() => setOpen(false)}>
              Not now
            </button>
          </form>
        </Ask>
      )}
    </>
  );
}
