// The city at this moment: how many drivers do what, who waits, how fast rounds are held, and the last hour.

import { useEffect, useState } from "preact/hooks";

import type { Api } from "../lib/api";
import { Notice } from "../lib/notice";
import type { Trip } from "../lib/types";
import { useNow } from "../lib/use";
import { Chart } from "./chart";
import type { Fleet } from "./fleet";
import type { LayerName } from "./overlay";
import { usePoll } from "./poll";
import type { Round, Sos, Stats } from "./types";
import { DRIVER_STATES, short, span, stateWords } from "./words";

const STATS_EVERY_MS = 10_000;
const ROUNDS_EVERY_MS = 5_000;
const SOS_EVERY_MS = 10_000;
const ROUNDS_SEEN = 200;
const LAYERS: [name: LayerName, words: string][] = [
  ["traffic", "Traffic"],
  ["requests", "Riders who wait"],
  ["demand", "Demand and surge"],
  ["zones", "Zones"],
];

interface Props {
  api: Api;
  fleet: Fleet;
  waiting: Trip[];
  /** There are more than these. */
  more: boolean;
  layers: Record<LayerName, boolean>;
  setLayer: (name: LayerName, on: boolean) => void;
}

export function Now({ api, fleet, waiting, more, layers, setLayer }: Props) {
  const stats = usePoll<Stats>(api, "/v1/trip-stats?minutes=60", STATS_EVERY_MS);
  const rounds = usePoll<{ rounds: Round[] }>(api, `/v1/rounds?limit=${ROUNDS_SEEN}`, ROUNDS_EVERY_MS);
  const sos = usePoll<{ calls: Sos[] }>(api, "/v1/sos", SOS_EVERY_MS);
  return (
    <>
      <h1 class="visually-hidden">The city now</h1>
      {sos.data?.calls.map((call) => (
        <Notice key={call.sosId} tone="bad">
          <strong>A call for help</strong> from {short(call.actorId)} {call.note && <>: “{call.note}”</>}{" "}
          <a href={`#/trips/${call.tripId}`}>Show the ride</a>
        </Notice>
      ))}
      {stats.problem && <Notice tone="warn">{stats.problem}</Notice>}
      <Drivers fleet={fleet} />
      <Figures stats={stats.data} rounds={rounds.data?.rounds ?? []} waiting={`${waiting.length}${more ? "+" : ""}`} />
      {stats.data && <Charts stats={stats.data} />}
      <fieldset class="layers">
        <legend>On the map</legend>
        {LAYERS.map(([name, words]) => (
          <label key={name}>
            <input type="checkbox" checked={layers[name]} onChange={({ currentTarget }) => setLayer(name, currentTarget.checked)} />
            {words}
          </label>
        ))}
      </fieldset>
      <Waiting waiting={waiting} />
      {stats.data && stats.data.endReasons.length > 0 && <Reasons stats={stats.data} />}
    </>
  );
}

/** How many drivers do what; it is the legend of the map as well. */
function Drivers({ fleet }: { fleet: Fleet }) {
  const [counts, setCounts] = useState(() => fleet.counts());
  useEffect(() => {
    let seen = -1;
    const timer = setInterval(() => {
      if (seen === fleet.version) return;
      seen = fleet.version;
      setCounts(fleet.counts());
    }, 1_000);
    return () => clearInterval(timer);
  }, [fleet]);
  const all = [...counts.values()].reduce((sum, count) => sum + count, 0);
  return (
    <section aria-labelledby="drivers-title">
      <h2 id="drivers-title" class="spread">
        <span>Drivers in view</span>
        <span class="num" data-test="drivers">
          {all.toLocaleString()}
        </span>
      </h2>
      <div class="shares" aria-hidden="true">
        {Object.keys(DRIVER_STATES)
          .filter((state) => counts.has(Number(state)))
          .map((state) => (
            <span key={state} class={`state-${state}`} style={{ flexGrow: counts.get(Number(state)) ?? 0 }} />
          ))}
      </div>
      <ul class="legend">
        {Object.entries(DRIVER_STATES).map(([state, { words }]) => (
          <li key={state}>
            <span class={`dot state-${state}`} aria-hidden="true" />
            {words}
            <span class="num">{(counts.get(Number(state)) ?? 0).toLocaleString()}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}

/** Rounds a second over the last minute that is known. */
export function pace(rounds: Round[], now: number): number {
  const lately = rounds.filter(({ decidedAt }) => now - Date.parse(decidedAt) < 60_000);
  const oldest = lately.at(-1);
  if (!oldest) return 0;
  const full = lately.length === rounds.length && rounds.length === ROUNDS_SEEN;
  const ms = full ? now - Date.parse(oldest.decidedAt) : 60_000;
  return lately.length / Math.max(1, ms / 1000);
}

function Figures({ stats, rounds, waiting }: { stats: Stats | undefined; rounds: Round[]; waiting: string }) {
  const total = stats?.total;
  const ended = total ? total.completed + total.cancelled + total.expired + total.noShow : 0;
  const share = total && ended > 0 ? `${Math.round((total.completed / ended) * 100)} %` : "–";
  const perSecond = pace(rounds, stats ? Math.max(Date.parse(stats.takenAt), Date.parse(rounds[0]?.decidedAt ?? "1970")) : Date.now());
  const figures: [string, string, string][] = [
    ["Riders waiting", waiting, "for a driver, now"],
    ["Pick-up time", span(total?.pickupMedianMs), "median, last hour"],
    ["Served", share, "of rides that ended"],
    ["Rounds", perSecond >= 0.1 ? `${perSecond.toFixed(1)} /s` : `${(perSecond * 60).toFixed(0)} /min`, "of dispatch"],
  ];
  return (
    <dl class="figures">
      {figures.map(([name, value, told]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd class="num">{value}</dd>
          <dd class="told">{told}</dd>
        </div>
      ))}
    </dl>
  );
}

function Charts({ stats: { buckets, total } }: { stats: Stats }) {
  const times = buckets.map(({ startsAt }) => startsAt);
  const seconds = (ms: string | undefined) => (ms === undefined ? undefined : Number(ms) / 1000);
  // A minute alone has few rides: five together show where it goes.
  const share = buckets.map((_, number) => {
    const lately = buckets.slice(Math.max(0, number - 4), number + 1);
    const sum = (of: (bucket: Stats["total"]) => number) => lately.reduce((all, bucket) => all + of(bucket), 0);
    const ended = sum((bucket) => bucket.completed + bucket.cancelled + bucket.expired + bucket.noShow);
    return ended ? (sum((bucket) => bucket.completed) / ended) * 100 : undefined;
  });
  return (
    <section class="charts" aria-label="The last hour">
      <Chart
        title="From request to pick-up"
        now={span(total.pickupMedianMs)}
        times={times}
        top={60}
        say={(value) => span(value * 1000)}
        lines={[
          { name: "slowest of 20", kind: "second", values: buckets.map((bucket) => seconds(bucket.pickupP95Ms)) },
          { name: "median", kind: "first", values: buckets.map((bucket) => seconds(bucket.pickupMedianMs)) },
        ]}
      />
      <Chart
        title="Served share"
        now={share.at(-1) === undefined ? "" : `${Math.round(share.at(-1) ?? 0)} %`}
        times={times}
        top={100}
        say={(value) => `${Math.round(value)} %`}
        lines={[{ name: "served", kind: "first", values: share }]}
      />
      <Chart
        title="Rides asked for"
        now={`${total.requested} in an hour`}
        times={times}
        top={4}
        say={(value) => String(Math.round(value))}
        columns
        lines={[{ name: "asked for", kind: "first", values: buckets.map(({ requested }) => requested) }]}
      />
    </section>
  );
}

function Waiting({ waiting }: { waiting: Trip[] }) {
  const now = useNow(1_000, waiting.length > 0);
  // Who has waited longest comes first.
  const sorted = [...waiting].sort((a, b) => a.createdAt.localeCompare(b.createdAt));
  return (
    <section aria-labelledby="waiting-title">
      <h2 id="waiting-title">Riders who wait for a driver</h2>
      {waiting.length === 0 && <p class="small">Nobody waits.</p>}
      <ul class="rows" data-test="waiting">
        {sorted.slice(0, 12).map((trip) => (
          <li key={trip.tripId}>
            <a href={`#/trips/${trip.tripId}`}>
              <span>
                {short(trip.riderId)}
                <span class="small"> {trip.openOffer ? `offered to ${short(trip.openOffer.driverId)}` : stateWords(trip.state)[0].toLowerCase()}</span>
              </span>
              <span class="num">{span(now - Date.parse(trip.createdAt))}</span>
            </a>
          </li>
        ))}
      </ul>
      {waiting.length > 12 && <p class="small">and {waiting.length - 12} more</p>}
    </section>
  );
}

function Reasons({ stats }: { stats: Stats }) {
  return (
    <section aria-labelledby="reasons-title">
      <h2 id="reasons-title">Why rides were not driven</h2>
      <ul class="rows plain">
        {stats.endReasons.slice(0, 8).map(({ state, reason, count }) => (
          <li key={state + reason}>
            <span>
              {stateWords(state)[0]}
              <span class="small"> {reason}</span>
            </span>
            <span class="num">{count}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}
