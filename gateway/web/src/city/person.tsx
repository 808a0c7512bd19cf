// One driver or one rider: what they do now, their rides, and what they are owed or owe.

import type { Api } from "../lib/api";
import { negative } from "../lib/fare";
import { money, time } from "../lib/format";
import { Notice } from "../lib/notice";
import type { Driver, Money, Trip } from "../lib/types";
import { useOnce, usePoll } from "./poll";
import { accountWords, clock, driverWords, entryWords, short, stateWords } from "./words";

const DRIVER_EVERY_MS = 3_000;
const RIDES_EVERY_MS = 6_000;

interface Posting {
  account: string;
  kind: string;
  aboutId: string;
  number: number;
  amount: Money;
  postedAt: string;
}

export function DriverPanel({ api, driverId, follow, following }: { api: Api; driverId: string; follow: (on: boolean) => void; following: boolean }) {
  const id = encodeURIComponent(driverId);
  const { data, problem } = usePoll<{ driver: Driver & { locatedAt?: string } }>(api, `/v1/drivers/${id}`, DRIVER_EVERY_MS);
  const driver = data?.driver;
  return (
    <>
      <header class="stack">
        <p class="eyebrow">Driver</p>
        <h1 tabIndex={-1}>{driverId}</h1>
        {problem && <Notice tone="warn">{problem}</Notice>}
        {driver && (
          <dl class="facts">
            <dt>Now</dt>
            <dd data-test="driver-state">{driverWords(driver.state)}</dd>
            <dt>Car</dt>
            <dd>{[driver.vehicle?.plate, driver.vehicle?.description].filter(Boolean).join(", ") || "not told"}</dd>
            <dt>Serves</dt>
            <dd>{driver.products.join(", ")}</dd>
            <dt>Last heard</dt>
            <dd>{clock(driver.locatedAt) || "never"}</dd>
            {[driver.tripId, driver.secondTripId].filter(Boolean).map((tripId) => (
              <>
                <dt>Ride</dt>
                <dd>
                  <a href={`#/trips/${tripId}`}>{short(tripId)}</a>
                </dd>
              </>
            ))}
          </dl>
        )}
        <button class="small" aria-pressed={following} onClick={() => follow(!following)}>
          {following ? "Stop following on the map" : "Follow on the map"}
        </button>
      </header>
      <Rides api={api} of={{ driverId }} />
      <Money api={api} who="drivers" id={id} />
    </>
  );
}

export function RiderPanel({ api, riderId }: { api: Api; riderId: string }) {
  return (
    <>
      <header class="stack">
        <p class="eyebrow">Rider</p>
        <h1 tabIndex={-1}>{riderId}</h1>
      </header>
      <Rides api={api} of={{ riderId }} />
      <Money api={api} who="riders" id={encodeURIComponent(riderId)} />
    </>
  );
}

function Rides({ api, of }: { api: Api; of: { driverId: string } | { riderId: string } }) {
  const query = new URLSearchParams({ ...of, pageSize: "20" });
  const { data, problem } = usePoll<{ trips: Trip[] }>(api, `/v1/trips?${query}`, RIDES_EVERY_MS);
  return (
    <section aria-labelledby="rides-title">
      <h2 id="rides-title">Rides</h2>
      {problem && <Notice tone="warn">{problem}</Notice>}
      {data?.trips.length === 0 && <p class="small">None yet.</p>}
      <ul class="rows">
        {data?.trips.map((trip) => {
          const [words, tone] = stateWords(trip.state);
          const other = "driverId" in of ? trip.riderId : trip.driver?.driverId;
          return (
            <li key={trip.tripId}>
              <a href={`#/trips/${trip.tripId}`}>
                <span>
                  {time(trip.createdAt)} <span class={`chip small-chip ${tone}`}>{words}</span>
                  {other && <span class="small"> {other}</span>}
                </span>
                <span class="num">{money(trip.finalFare ?? trip.fare)}</span>
              </a>
            </li>
          );
        })}
      </ul>
    </section>
  );
}

/** In the books what we owe has a minus. Who reads what somebody is owed reads it the other way round. */
const OWED = ["driver_payable", "rider_credit"];

function Money({ api, who, id }: { api: Api; who: "drivers" | "riders"; id: string }) {
  const balance = useOnce<{ balances: Money[]; cashDues: Money[] }>(api, `/v1/${who}/${id}/balance`);
  const postings = useOnce<{ postings: Posting[] }>(api, `/v1/${who}/${id}/postings?pageSize=15`);
  return (
    <section aria-labelledby="money-title">
      <h2 id="money-title">{who === "drivers" ? "What they are owed" : "What they owe"}</h2>
      {balance.problem && <Notice tone="warn">{balance.problem}</Notice>}
      <p class="big">{balance.data?.balances.map(money).join(", ") || (balance.loading ? "…" : "nothing")}</p>
      {(postings.data?.postings.length ?? 0) > 0 && (
        <ul class="rows plain">
          {postings.data?.postings.map((posting) => (
            <li key={posting.aboutId + posting.kind + posting.number + posting.account}>
              <span>
                {entryWords(posting.kind)}{" "}
                <span class="small">
                  {accountWords(posting.account).toLowerCase()}, {time(posting.postedAt)}
                </span>
              </span>
              <span class="num">{money(OWED.includes(posting.account) ? negative(posting.amount) : posting.amount)}</span>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}
