// The rider's rides, newest first, and what they owe or have in credit.

import { useEffect, useState } from "preact/hooks";

import type { Api } from "../lib/api";
import { day, isZero, money } from "../lib/format";
import { Notice, wordsOf } from "../lib/notice";
import type { Money, ServiceArea, Trip } from "../lib/types";
import { usePlaceName } from "../lib/use";

const STATES: Record<string, string> = {
  SCHEDULED: "booked",
  COMPLETED: "driven",
  CANCELLED: "called off",
  EXPIRED: "nobody came",
  NO_SHOW: "not taken",
};

export function History({ api, area }: { api: Api; area: ServiceArea }) {
  const [trips, setTrips] = useState<Trip[]>();
  const [next, setNext] = useState("");
  const [balance, setBalance] = useState<{ balances: Money[]; credits: Money[] }>();
  const [problem, setProblem] = useState("");
  const more = async (pageToken: string) => {
    try {
      const page = await api.get<{ trips: Trip[]; nextPageToken: string }>("/v1/trips", { pageSize: 20, pageToken });
      setTrips((before = []) => (pageToken ? [...before, ...page.trips] : page.trips));
      setNext(page.nextPageToken);
    } catch (error) {
      setProblem(wordsOf(error));
    }
  };
  useEffect(() => {
    void more("");
    api.get<{ balances: Money[]; credits: Money[] }>(`/v1/riders/${api.session.id}/balance`).then(setBalance, () => {});
  }, [api]);
  const open = balance?.balances.filter((amount) => !isZero(amount)) ?? [];
  const credits = balance?.credits.filter((amount) => !isZero(amount)) ?? [];
  return (
    <>
      <h1>My rides</h1>
      {open.map((amount) => (
        <Notice key={amount.currencyCode} tone="info">
          On its way from your card: {money(amount)}
        </Notice>
      ))}
      {credits.map((amount) => (
        <Notice key={amount.currencyCode} tone="good">
          You have {money(amount)} in credit. It pays for your next ride.
        </Notice>
      ))}
      {problem && <Notice tone="bad">{problem}</Notice>}
      {!trips && !problem && <p role="status">One moment …</p>}
      {trips?.length === 0 && <p class="lead">No rides yet.</p>}
      <ul class="rides">
        {trips?.map((trip) => (
          <Row key={trip.tripId} api={api} area={area} trip={trip} />
        ))}
      </ul>
      {next && <button onClick={() => void more(next)}>Older rides</button>}
    </>
  );
}

function Row({ api, area, trip }: { api: Api; area: ServiceArea; trip: Trip }) {
  const from = usePlaceName(api, trip.pickup);
  const to = usePlaceName(api, trip.dropoff);
  const title = area.products.find(({ product }) => product === trip.product)?.title ?? trip.product;
  const state = STATES[trip.state.replace("TRIP_STATE_", "")] ?? "under way";
  const driven = trip.state === "TRIP_STATE_COMPLETED";
  const cost = driven ? (trip.finalFare ?? trip.fare) : trip.endedAt ? trip.fee : trip.fare;
  return (
    <li>
      <a class="card" href={`#/trips/${trip.tripId}`}>
        <span class="spread">
          <strong>{to || "…"}</strong>
          <span class="num">{isZero(cost) ? "free" : money(cost)}</span>
        </span>
        <span class="small">
          {day(trip.pickupAt ?? trip.createdAt)} · {title} · {state} · from {from || "…"}
        </span>
      </a>
    </li>
  );
}
