// After the ride: why it ended, what it cost line by line, where the money went, a tip, stars.

import { useState } from "preact/hooks";

import { type Api, newKey } from "../lib/api";
import { FareLines, negative, sumOf } from "../lib/fare";
import { day, isZero, lasted, minus, money, time, way } from "../lib/format";
import { Icon } from "../lib/icons";
import { Notice, wordsOf } from "../lib/notice";
import { useReceipt } from "../lib/receipt";
import type { Money, Receipt, Trip } from "../lib/types";
import { sentence, usePlaceName } from "../lib/use";

interface Props {
  api: Api;
  trip: Trip;
  product: string;
}

export function After({ api, trip, product }: Props) {
  const from = usePlaceName(api, trip.pickup);
  const to = usePlaceName(api, trip.dropoff);
  const driven = trip.state === "TRIP_STATE_COMPLETED";
  const stops = trip.stops.length === 1 ? ", by way of one stop" : trip.stops.length > 1 ? `, by way of ${trip.stops.length} stops` : "";
  return (
    <>
      <header class="stack" data-test="standing" data-state={trip.state} aria-live="polite">
        <Why trip={trip} />
      </header>
      <p class="small">
        {product} from {from} to {to}
        {stops}, {trip.pickupAt ? `booked for ${day(trip.pickupAt)}` : day(trip.createdAt)}
      </p>
      {trip.state === "TRIP_STATE_EXPIRED" && (
        <p class="small">Ask again in a while, or for another kind of ride: the prices say which cars are near.</p>
      )}
      {(driven || !isZero(trip.fee)) && <Paid api={api} trip={trip} driven={driven} />}
      {driven && <Stars api={api} trip={trip} />}
      <a class="button primary" href="#/">
        {driven ? "Ride again" : "Ask for another ride"}
      </a>
    </>
  );
}

/** Why it ended, and why perhaps nobody came, in plain words. */
function Why({ trip }: { trip: Trip }) {
  const [title, told] = reason(trip);
  return (
    <>
      <h1>{title}</h1>
      <p class="lead" data-test="why">
        {told}
      </p>
    </>
  );
}

function reason(trip: Trip): [string, string] {
  const nothing = isZero(trip.fee) ? " Nothing was charged." : ` You pay ${money(trip.fee)}.`;
  const looked = trip.endedAt ? lasted(Date.parse(trip.endedAt) - Date.parse(trip.createdAt)) : "";
  switch (trip.state) {
    case "TRIP_STATE_COMPLETED": {
      const took = trip.startedAt && trip.endedAt ? lasted(Date.parse(trip.endedAt) - Date.parse(trip.startedAt)) : "";
      return ["You have arrived", `${way(trip.drivenMeters ?? trip.distanceMeters)} in ${took}, at ${time(trip.endedAt)}.`];
    }
    case "TRIP_STATE_EXPIRED":
      return ["Nobody came", `${nobody(trip.endReason)}${trip.pickupAt ? "" : ` We looked for ${looked}.`}${nothing} What was set aside is yours again.`];
    case "TRIP_STATE_NO_SHOW":
      return ["The driver left without you", `They waited from ${time(trip.arrivedAt)} to ${time(trip.endedAt)}, and nobody came.${nothing}`];
    default: {
      if (trip.cancelledBy === "ACTOR_RIDER") return ["You called the ride off", `At ${time(trip.endedAt)}.${nothing}`];
      const by = trip.cancelledBy === "ACTOR_OPERATOR" ? "An operator of the city called it off" : "It was called off";
      return ["The ride was called off", `${by}: ${sentence(trip.endReason)}${nothing}`];
    }
  }
}

/**
 * Why no driver was found. The API tells it as "…: 3 offered: 1 declined, 2 did not answer, 0 withdrawn; …" or
 * "…: no driver was free; those near were on a ride or too far away".
 */
export function nobody(endReason: string): string {
  const counts = /(\d+) offered: (\d+) declined, (\d+) did not answer, (\d+) withdrawn/.exec(endReason);
  if (counts) {
    const [offered = 0, declined = 0, silent = 0] = counts.slice(1).map(Number);
    const drivers = (n: number) => (n === 1 ? "one driver" : `${n} drivers`);
    const parts = [declined && `${drivers(declined)} declined`, silent && `${drivers(silent)} did not answer`].filter(Boolean);
    return `The ride was offered to ${drivers(offered)}${parts.length ? `: ${parts.join(", ")}` : ""}.`;
  }
  if (endReason.includes("no driver was free")) {
    const why = /those near were .+$/.exec(endReason);
    return `No driver was free within reach in all that time${why ? `: ${why[0]}` : ""}.`;
  }
  return sentence(endReason || "No driver was found");
}

function Paid({ api, trip, driven }: { api: Api; trip: Trip; driven: boolean }) {
  const [again, setAgain] = useState(0);
  const [receipt, problem] = useReceipt(api, trip, again);
  if (problem) return <Notice tone="bad">The receipt is not there: {sentence(problem)}</Notice>;
  if (!receipt) return <p role="status">The receipt is being written …</p>;
  return (
    <>
      <section class="card stack" aria-label="Receipt" data-test="receipt">
        <div class="spread">
          <h2>What you paid for</h2>
          <span class="big">{money(receipt.total)}</span>
        </div>
        <FareLines lines={receipt.lines} />
        <div class="total spread">
          <strong>Total</strong>
          <strong class="num" data-test="total">
            {money(receipt.total)}
          </strong>
        </div>
        <Difference trip={trip} receipt={receipt} />
        <div class="row wrap">
          <Document api={api} trip={trip} format="DOCUMENT_FORMAT_PDF" name="Save as PDF" />
        </div>
      </section>
      <Moves trip={trip} receipt={receipt} />
      {driven && <Tip api={api} trip={trip} receipt={receipt} given={() => setAgain((n) => n + 1)} />}
    </>
  );
}

/** Why the price is not the one that was quoted, where it is not. */
function Difference({ trip, receipt }: { trip: Trip; receipt: Receipt }) {
  const { upfront, fare } = receipt;
  if (!upfront || !fare || !isZero(trip.fee)) return null;
  // A promotion makes no ride shorter.
  const driven = receipt.lines.filter(({ kind }) => kind === "FARE_LINE_KIND_PROMOTION").reduce((sum, { amount }) => minus(sum, amount), fare);
  if (upfront.minorUnits === driven.minorUnits) return null;
  const more = BigInt(driven.minorUnits) > BigInt(upfront.minorUnits);
  const changed = trip.fare && trip.fare.minorUnits === driven.minorUnits;
  const why = changed ? "You changed where it went" : more ? "The ride became longer, or the driver had to wait" : "The ride became shorter";
  return (
    <p class="small">
      You ordered it for {money(upfront)}. {why}: {money(driven)}, which is {money(more ? minus(driven, upfront) : minus(upfront, driven))} {more ? "more" : "less"}.
    </p>
  );
}

/** Where the money went, step by step. */
function Moves({ trip, receipt }: { trip: Trip; receipt: Receipt }) {
  const cash = receipt.paymentMethod === "PAYMENT_METHOD_CASH";
  const steps: [string, string, string][] = [];
  if (trip.fare && !cash) steps.push([time(trip.createdAt), "Set aside on your card, until the ride was over", money(trip.fare)]);
  if (!isZero(receipt.credit)) steps.push([time(receipt.capturedAt), "Paid with your credit", money(receipt.credit)]);
  if (!isZero(receipt.cash)) steps.push([time(receipt.capturedAt), "Paid in cash, to the driver", money(receipt.cash)]);
  const charged = receipt.fare && !cash ? minus(receipt.fare, receipt.credit ?? { ...receipt.fare, minorUnits: "0" }) : undefined;
  if (charged && !isZero(charged)) {
    const less = trip.fare && BigInt(charged.minorUnits) < BigInt(trip.fare.minorUnits);
    const rest = less ? "; the rest of what was set aside is yours" : "";
    steps.push([time(receipt.capturedAt), `${paymentWords(receipt.paymentState)}${rest}`, money(charged)]);
  }
  const tips = receipt.lines.filter(({ kind }) => kind === "FARE_LINE_KIND_TIP");
  for (const tip of tips) steps.push(["", "Tip, for the driver alone", money(tip.amount)]);
  if (!isZero(receipt.carried)) steps.push(["", "To be paid with your next ride", money(receipt.carried)]);
  for (const refund of receipt.refunds) steps.push([day(refund.refundedAt), `Given back to you: ${refund.reason}`, `+${money(refund.amount)}`]);
  return (
    <details class="card moves" open>
      <summary>Where the money went</summary>
      <ol>
        {steps.map(([at, what, amount], number) => (
          <li key={number}>
            <span class="small num">{at}</span>
            <span>{what}</span>
            <span class="num">{amount}</span>
          </li>
        ))}
      </ol>
      <Whose receipt={receipt} />
    </details>
  );
}

/** Whom it reached. What driver and city share between them riders are not told. */
function Whose({ receipt }: { receipt: Receipt }) {
  const { lines } = receipt;
  const ride = sumOf(lines, (kind) => !["BOOKING_FEE", "TAX", "TIP", "PROMOTION", "DUES"].includes(kind));
  const off = sumOf(lines, (kind) => kind === "PROMOTION");
  const parts: [string, Money | undefined][] = [
    ["To the driver, but for the city's share of the ride", ride],
    ["To the city, for arranging it", sumOf(lines, (kind) => kind === "BOOKING_FEE")],
    ["To the state, as tax", sumOf(lines, (kind) => kind === "TAX")],
    ["To the driver alone, your tip", sumOf(lines, (kind) => kind === "TIP")],
    ["For earlier rides", sumOf(lines, (kind) => kind === "DUES")],
    ["Of all this the city bears, for your code", off && negative(off)],
  ];
  return (
    <>
      <h3>Whom it went to</h3>
      <dl class="lines" data-test="whose">
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
      <p class="small">The driver's statement and the city's ledger show the same money from their side.</p>
    </>
  );
}

function paymentWords(state: string): string {
  switch (state.replace("PAYMENT_STATE_", "")) {
    case "FAILED":
      return "The payment failed; the city will be in touch";
    case "UNKNOWN":
      return "The bank has not answered yet";
    case "REFUNDED":
      return "Taken from your card, and given back since";
    default:
      return "Taken from your card";
  }
}

function Document({ api, trip, format, name }: { api: Api; trip: Trip; format: string; name: string }) {
  const [problem, setProblem] = useState("");
  const save = async () => {
    try {
      const url = URL.createObjectURL(await api.file(`/v1/trips/${trip.tripId}/receipt:document`, { format }));
      const link = document.createElement("a");
      link.href = url;
      link.download = `receipt-${trip.tripId}.pdf`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
    } catch (error) {
      setProblem(wordsOf(error));
    }
  };
  return (
    <>
      <button class="small" onClick={save}>
        {name}
      </button>
      {problem && <Notice tone="bad">{problem}</Notice>}
    </>
  );
}

/** In whole units of the currency. */
const TIPS = [1, 2, 5];

function Tip({ api, trip, receipt, given }: { api: Api; trip: Trip; receipt: Receipt; given: () => void }) {
  const [chosen, setChosen] = useState<number>();
  const [problem, setProblem] = useState("");
  const [told, setTold] = useState("");
  const [busy, setBusy] = useState(false);
  const currency = receipt.total.currencyCode;
  const places = new Intl.NumberFormat("en", { style: "currency", currency }).resolvedOptions().maximumFractionDigits ?? 2;
  const amount = (units: number): Money => ({ currencyCode: currency, minorUnits: String(units * 10 ** places) });
  const give = async (event: Event) => {
    event.preventDefault();
    if (!chosen) return;
    setBusy(true);
    setProblem("");
    try {
      await api.post(`/v1/trips/${trip.tripId}:tip`, { amount: amount(chosen) }, newKey());
      setTold(`Thank you: ${money(amount(chosen))} go to the driver.`);
      setChosen(undefined);
      given();
    } catch (error) {
      setProblem(wordsOf(error));
    } finally {
      setBusy(false);
    }
  };
  if (told) return <Notice tone="good">{told}</Notice>;
  return (
    <form class="stack" onSubmit={give} data-test="tip">
      <fieldset class="choices">
        <legend>A tip for the driver?</legend>
        {TIPS.map((units) => (
          <label key={units} class={chosen === units ? "chosen" : ""}>
            <input type="radio" name="tip" class="visually-hidden" checked={chosen === units} onChange={() => setChosen(units)} />
            {money(amount(units))}
          </label>
        ))}
      </fieldset>
      {problem && <Notice tone="bad">{sentence(problem)}</Notice>}
      {chosen && <button disabled={busy}>Give {money(amount(chosen))}</button>}
    </form>
  );
}

function Stars({ api, trip }: { api: Api; trip: Trip }) {
  const [stars, setStars] = useState(0);
  const [comment, setComment] = useState("");
  const [told, setTold] = useState("");
  const [problem, setProblem] = useState("");
  const rate = async (event: Event) => {
    event.preventDefault();
    setProblem("");
    try {
      await api.post(`/v1/trips/${trip.tripId}:rate`, { stars, comment });
      setTold("Thank you, that was noted.");
    } catch (error) {
      setProblem(wordsOf(error));
    }
  };
  if (told) return <Notice tone="good">{told}</Notice>;
  return (
    <form class="stack" onSubmit={rate} data-test="rate">
      <fieldset class="choices stars">
        <legend>How was the ride?</legend>
        {[1, 2, 3, 4, 5].map((n) => (
          <label key={n} class={n <= stars ? "chosen" : ""}>
            <input type="radio" name="stars" class="visually-hidden" checked={n === stars} onChange={() => setStars(n)} />
            <span class="visually-hidden">{n === 1 ? "1 star" : `${n} stars`}</span>
            <Icon name="star" />
          </label>
        ))}
      </fieldset>
      {stars > 0 && (
        <>
          <label class="field">
            In a few words, if you like
            <input maxLength={500} value={comment} onInput={({ currentTarget }) => setComment(currentTarget.value)} />
          </label>
          {problem && <Notice tone="bad">{problem}</Notice>}
          <button>Send</button>
        </>
      )}
    </form>
  );
}
