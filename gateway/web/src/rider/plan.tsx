// Before the ride: from where to where, and what each kind of ride would cost.

import { useEffect, useRef, useState } from "preact/hooks";

import { type Api, newKey, Problem } from "../lib/api";
import { FareLines, negative } from "../lib/fare";
import { day, isZero, minutes, money, way, when } from "../lib/format";
import { Icon } from "../lib/icons";
import type { CityMap } from "../lib/map";
import { Notice, wordsOf } from "../lib/notice";
import { go } from "../lib/place-in-page";
import type { Money, Quotes, ServiceArea, Trip, TripQuote } from "../lib/types";
import { Booked } from "./booked";
import { liveTrip } from "./live-trip";
import { Options } from "./options";
import { type PromotedFare, preview, remember } from "./promotion";
import { keyOf, type Spot, type Stop, type Tapped, useWay, WayFields } from "./way";

interface Props {
  api: Api;
  area: ServiceArea;
  map: CityMap | undefined;
  tapped: Tapped;
}

/** Prices are asked for again that long before they run out, and after so long at the latest. */
const RENEWED_BEFORE_MS = 10_000;
const RENEWED_MS_MAX = 60 * 60_000;

export function Plan({ api, area, map, tapped }: Props) {
  const hand = useWay(api, map, tapped, { stops: [] }, "pickup");
  const { way: wanted, stops, active, putPoint } = hand;
  const { pickup, dropoff } = wanted;
  const [at, setAt] = useState("");
  const [code, setCode] = useState("");
  const [codeProblem, setCodeProblem] = useState("");
  const [promoted, setPromoted] = useState<Map<string, PromotedFare>>();
  const [quotes, setQuotes] = useState<Quotes>();
  const [product, setProduct] = useState(area.products[0]?.product ?? "");
  const [method, setMethod] = useState("PAYMENT_METHOD_CARD");
  const [seats, setSeats] = useState(1);
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);
  const [again, setAgain] = useState(0);
  const keys = useRef(new Map<string, string>());
  const stopsKey = keyOf(stops.map(({ location }) => location));

  // Prices, for as long as they hold.
  useEffect(() => {
    setQuotes(undefined);
    setProblem("");
    if (!pickup || !dropoff) return;
    let current = true;
    let timer: ReturnType<typeof setTimeout>;
    const body = {
      pickup: pickup.location,
      stops: stops.map(({ location }) => location),
      dropoff: dropoff.location,
      ...(at && { pickupAt: new Date(at).toISOString() }),
    };
    api.post<Quotes>("/v1/quotes", body).then(
      (answer) => {
        if (!current) return;
        setQuotes(answer);
        const first = Math.min(...answer.quotes.map(({ expiresAt }) => Date.parse(expiresAt)));
        const left = Math.min(RENEWED_MS_MAX, first - Date.now() - RENEWED_BEFORE_MS);
        timer = setTimeout(() => setAgain((n) => n + 1), Math.max(5_000, left));
      },
      (error) => current && setProblem(timeWords(error) ?? wordsOf(error)),
    );
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [api, pickup?.location, dropoff?.location, stopsKey, at, again]);

  // What the code makes of them.
  useEffect(() => {
    setPromoted(undefined);
    // A ride for later is given its code when its fare is held.
    if (!quotes || !code || at) return;
    let current = true;
    preview(api, code, quotes.quotes.map(({ fare }) => fare)).then(
      (fares) => current && setPromoted(new Map(quotes.quotes.map(({ quoteId }, number) => [quoteId, fares[number] as PromotedFare]))),
      (error) => {
        if (!current) return;
        setCode("");
        setCodeProblem(`${code}: ${wordsOf(error)}`);
      },
    );
    return () => void (current = false);
  }, [api, quotes, code, at]);

  useEffect(() => {
    if (!map) return;
    map.route(quotes?.route?.line);
    if (pickup && dropoff) map.fit([pickup.location, ...stops.map(({ location }) => location), dropoff.location, ...(quotes?.route?.line ?? [])]);
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
      if (code) remember(trip.tripId, code);
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
  const price = (quote: TripQuote) => promoted?.get(quote.quoteId)?.fare ?? quote.fare;
  const off = chosen && promoted?.get(chosen.quoteId)?.off;
  const title = kind?.title ?? chosen?.product ?? "";
  return (
    <>
      <div class="spread">
        <h1>Where to?</h1>
        <button class="small quiet" onClick={locate}>
          <Icon name="locate" /> From here
        </button>
      </div>
      <WayFields hand={hand} from />
      {!(pickup && dropoff) && map && (
        <div class="row wrap">
          <button class="small grow" onClick={() => void putPoint(active, map.centre())}>
            {spotWords(active, wanted.stops)} the middle of the map
          </button>
        </div>
      )}
      <Options
        hand={hand}
        at={at}
        setAt={setAt}
        code={code}
        codeProblem={codeProblem}
        setCode={(code) => {
          setCodeProblem("");
          setCode(code);
        }}
      />
      {!(pickup && dropoff) && <Booked api={api} />}
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
            {way(chosen.distanceMeters)}, {minutes(chosen.durationMs)} by road{at && `, on ${day(chosen.pickupAt)}`}. These prices hold until{" "}
            {when(chosen.expiresAt)}.
          </p>
          <fieldset class="products">
            <legend class="visually-hidden">Kind of ride</legend>
            {quotes.quotes.map((quote) => (
              <ProductChoice
                key={quote.product}
                quote={quote}
                price={price(quote)}
                area={area}
                chosen={quote === chosen}
                choose={() => setProduct(quote.product)}
              />
            ))}
          </fieldset>
          <details>
            <summary>What the price is made of</summary>
            <FareLines lines={off ? [...chosen.lines, { kind: "FARE_LINE_KIND_PROMOTION", amount: negative(off) }] : chosen.lines} />
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
          {off && (
            <p class="small" role="status" data-test="promoted">
              {code} takes {money(off)} off.
            </p>
          )}
          {at && code && <Notice tone="info">{code} is taken off once we look for a driver. This device has it: open the ride here then.</Notice>}
          {!at && chosen.pickupEtaMs === undefined && (
            <Notice tone="warn">No {kind?.title ?? "car"} is free right now. You may ask all the same: we keep looking for a while.</Notice>
          )}
          <div class="next-step">
            <button class="primary" disabled={busy}>
              {busy ? "Asking …" : at ? `Book ${title} for ${day(chosen.pickupAt)} · ${money(price(chosen))}` : `Request ${title} · ${money(price(chosen))}`}
            </button>
          </div>
        </form>
      )}
    </>
  );
}

interface ChoiceProps {
  quote: TripQuote;
  /** With what a promotion takes off. */
  price: Money;
  area: ServiceArea;
  chosen: boolean;
  choose: () => void;
}

function ProductChoice({ quote, price, area, chosen, choose }: ChoiceProps) {
  const kind = area.products.find(({ product }) => product === quote.product);
  const coming = quote.pickupAt ? "Booked ahead" : quote.pickupEtaMs === undefined ? "None free now" : `${minutes(quote.pickupEtaMs)} away`;
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
      <span class="price num">
        {price !== quote.fare && (
          <>
            <del class="small">{money(quote.fare)}</del>{" "}
          </>
        )}
        {money(price)}
      </span>
    </label>
  );
}

function spotWords(spot: Spot, stops: Stop[]): string {
  if (spot === "pickup") return "From";
  return typeof spot === "number" ? `Stop ${stops.findIndex(({ id }) => id === spot) + 1}:` : "To";
}

/** What is wrong with the time of a ride for later. */
function timeWords(error: unknown): string | undefined {
  if (!(error instanceof Problem)) return undefined;
  const [, wrong, than] = /^pickup_?at is (less|more) than (.+?) ahead/i.exec(error.message) ?? [];
  if (wrong === "less") return `A ride is booked at least ${than} ahead. Take a later time, or ride now.`;
  return wrong && `A ride is booked at most ${than} ahead. Take an earlier time.`;
}
