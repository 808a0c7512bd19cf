// Before the ride: from where to where, and what each kind of ride would cost.

import { useEffect, useRef, useState } from "preact/hooks";

import { type Api, newKey, Problem } from "../lib/api";
import { FareLines } from "../lib/fare";
import { isZero, minutes, money, time, way } from "../lib/format";
import { Icon } from "../lib/icons";
import type { CityMap } from "../lib/map";
import { Notice, wordsOf } from "../lib/notice";
import { go } from "../lib/place-in-page";
import { type Place, PlaceField } from "../lib/place-field";
import type { Point, Quotes, ServiceArea, Trip, TripQuote } from "../lib/types";
import { placeName } from "../lib/use";
import { liveTrip } from "./live-trip";

type End = "pickup" | "dropoff";

interface Props {
  api: Api;
  area: ServiceArea;
  map: CityMap | undefined;
  tapped: { current: ((point: Point) => void) | undefined };
}

export function Plan({ api, area, map, tapped }: Props) {
  const [ends, setEnds] = useState<Partial<Record<End, Place>>>({});
  const [active, setActive] = useState<End>("pickup");
  const [quotes, setQuotes] = useState<Quotes>();
  const [product, setProduct] = useState(area.products[0]?.product ?? "");
  const [method, setMethod] = useState("PAYMENT_METHOD_CARD");
  const [seats, setSeats] = useState(1);
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);
  const [again, setAgain] = useState(0);
  const keys = useRef(new Map<string, string>());
  const { pickup, dropoff } = ends;

  const put = (end: End, place: Place | undefined) => {
    setEnds((before) => {
      const { [end]: _, ...rest } = before;
      return place ? { ...rest, [end]: place } : rest;
    });
    if (place && end === "pickup" && !dropoff) setActive("dropoff");
  };
  const putPoint = async (end: End, location: Point) => {
    put(end, { title: "A place on the map", location });
    const title = await placeName(api, location);
    // Unless it is another place by now.
    setEnds((before) => (before[end]?.location === location ? { ...before, [end]: { title, location } } : before));
  };
  useEffect(() => {
    tapped.current = (point) => void putPoint(active, point);
    return () => void (tapped.current = undefined);
  });

  useEffect(() => {
    if (!map) return;
    map.place("pickup", pickup?.location, "pickup", `Pick-up: ${pickup?.title ?? ""}`);
    map.place("dropoff", dropoff?.location, "dropoff", `Destination: ${dropoff?.title ?? ""}`);
    return () => {
      map.place("pickup", undefined, "pickup", "");
      map.place("dropoff", undefined, "dropoff", "");
    };
  }, [map, pickup, dropoff]);

  // Prices, for as long as they hold.
  useEffect(() => {
    setQuotes(undefined);
    setProblem("");
    if (!pickup || !dropoff) return;
    let current = true;
    let timer: ReturnType<typeof setTimeout>;
    const body = { pickup: pickup.location, dropoff: dropoff.location };
    api.post<Quotes>("/v1/quotes", body).then(
      (answer) => {
        if (!current) return;
        setQuotes(answer);
        const first = Math.min(...answer.quotes.map(({ expiresAt }) => Date.parse(expiresAt)));
        timer = setTimeout(() => setAgain((n) => n + 1), Math.max(5_000, first - Date.now() - 10_000));
      },
      (error) => current && setProblem(wordsOf(error)),
    );
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [api, pickup?.location, dropoff?.location, again]);

  useEffect(() => {
    if (!map) return;
    map.route(quotes?.route?.line);
    if (pickup && dropoff) map.fit([pickup.location, dropoff.location, ...(quotes?.route?.line ?? [])]);
    return () => map.route(undefined);
  }, [map, quotes]);

  const chosen = quotes?.quotes.find((quote) => quote.product === product) ?? quotes?.quotes[0];
  const kind = area.products.find((one) => one.product === chosen?.product);
  const seatsMax = kind?.seats ?? 1;
  const request = async (quote: TripQuote) => {
    setBusy(true);
    setProblem("");
    // The same quote is asked for under the same key, however often.
    const key = keys.current.get(quote.quoteId) ?? newKey();
    keys.current.set(quote.quoteId, key);
    try {
      const body = { quoteId: quote.quoteId, seats: Math.min(seats, seatsMax), paymentMethod: method };
      const { trip } = await api.post<{ trip: Trip }>("/v1/trips", body, key);
      go(`trips/${trip.tripId}`);
    } catch (error) {
      setProblem(wordsOf(error));
      if (error instanceof Problem && error.reason === "QUOTE_EXPIRED") setAgain((n) => n + 1);
      if (error instanceof Problem && error.reason === "RIDER_HAS_LIVE_TRIP") {
        const live = await liveTrip(api).catch(() => undefined);
        if (live) go(`trips/${live.tripId}`);
      }
    } finally {
      setBusy(false);
    }
  };
  const locate = () => {
    if (!navigator.geolocation) {
      setProblem("This device does not tell where it is. Tap the map, or type a street.");
      return;
    }
    navigator.geolocation.getCurrentPosition(
      ({ coords }) => void putPoint("pickup", { latitude: coords.latitude, longitude: coords.longitude }),
      () => setProblem("This device did not tell where it is. Tap the map, or type a street."),
      { maximumAge: 30_000, timeout: 10_000 },
    );
  };
  const field = (end: End, label: string, placeholder: string) => (
    <PlaceField
      api={api}
      label={label}
      placeholder={placeholder}
      value={ends[end]}
      active={active === end}
      near={() => map?.centre()}
      chosen={(place) => put(end, place)}
      focused={() => setActive(end)}
    />
  );
  return (
    <>
      <div class="spread">
        <h1>Where to?</h1>
        <button class="small quiet" onClick={locate}>
          <Icon name="locate" /> From here
        </button>
      </div>
      <div class="ends">
        {field("pickup", "From", "A street, or tap the map")}
        {field("dropoff", "To", "A street, or tap the map")}
      </div>
      {!(pickup && dropoff) && map && (
        <div class="row wrap">
          <button class="small grow" onClick={() => void putPoint(active, map.centre())}>
            {active === "pickup" ? "From" : "To"} the middle of the map
          </button>
        </div>
      )}
      {problem && <Notice tone="bad">{problem}</Notice>}
      {pickup && dropoff && !quotes && !problem && <p role="status">Asking for prices …</p>}
      {quotes && chosen && (
        <form
          class="stack"
          onSubmit={(event) => {
            event.preventDefault();
            void request(chosen);
          }}
        >
          <p class="small" role="status">
            {way(chosen.distanceMeters)}, {minutes(chosen.durationMs)} by road. These prices hold until {time(chosen.expiresAt)}.
          </p>
          <fieldset class="products">
            <legend class="visually-hidden">Kind of ride</legend>
            {quotes.quotes.map((quote) => (
              <ProductChoice key={quote.product} quote={quote} area={area} chosen={quote === chosen} choose={() => setProduct(quote.product)} />
            ))}
          </fieldset>
          <details>
            <summary>What the price is made of</summary>
            <FareLines lines={chosen.lines} />
            <p class="small">
              It stays as it is, unless the ride becomes much longer or shorter.
              {!isZero(chosen.cancellationFee) && ` Calling it off late costs ${money(chosen.cancellationFee)}.`}
              {!isZero(chosen.noShowFee) && ` Not coming to the car costs ${money(chosen.noShowFee)}.`}
            </p>
          </details>
          <div class="row wrap">
            <fieldset class="row grow methods">
              <legend class="visually-hidden">How you pay</legend>
              {[
                ["PAYMENT_METHOD_CARD", "Card"],
                ["PAYMENT_METHOD_CASH", "Cash"],
              ].map(([value = "", name]) => (
                <label key={value}>
                  <input type="radio" name="method" checked={method === value} onChange={() => setMethod(value)} /> {name}
                </label>
              ))}
            </fieldset>
            <label class="row seats">
              <Icon name="person" />
              <span class="visually-hidden">How many ride along</span>
              <select value={Math.min(seats, seatsMax)} onChange={({ currentTarget }) => setSeats(Number(currentTarget.value))}>
                {Array.from({ length: seatsMax }, (_, n) => (
                  <option key={n} value={n + 1}>
                    {n + 1}
                  </option>
                ))}
              </select>
            </label>
          </div>
          {chosen.pickupEtaMs === undefined && (
            <Notice tone="warn">No {kind?.title ?? "car"} is free right now. You may ask all the same: we keep looking for a while.</Notice>
          )}
          <div class="next-step">
            <button class="primary" disabled={busy}>
              {busy ? "Asking …" : `Request ${kind?.title ?? chosen.product} · ${money(chosen.fare)}`}
            </button>
          </div>
        </form>
      )}
    </>
  );
}

interface ChoiceProps {
  quote: TripQuote;
  area: ServiceArea;
  chosen: boolean;
  choose: () => void;
}

function ProductChoice({ quote, area, chosen, choose }: ChoiceProps) {
  const kind = area.products.find(({ product }) => product === quote.product);
  const coming = quote.pickupEtaMs === undefined ? "None free now" : `${minutes(quote.pickupEtaMs)} away`;
  return (
    <label class={`product ${chosen ? "chosen" : ""}`}>
      <input type="radio" name="product" checked={chosen} onChange={choose} />
      <span class="grow">
        <strong>{kind?.title ?? quote.product}</strong>
        <span class="small">
          {coming}
          {kind && ` · ${kind.seats} seats`}
          {kind?.shared && " · shared with others"}
          {quote.surgePercent > 100 && ` · busy, ${quote.surgePercent} %`}
        </span>
      </span>
      <span class="price num">{money(quote.fare)}</span>
    </label>
  );
}
