// Why this driver, or why none: read from the round's own explanation, in plain words, and held against what
// another policy would have done with the same people.

import { useEffect, useState } from "preact/hooks";

import type { Api } from "../lib/api";
import { Notice, wordsOf } from "../lib/notice";
import type { Trip } from "../lib/types";
import { useOnce } from "./poll";
import type { Explained, Outcome, Replayed, Round } from "./types";
import { clock, short, span, verdictsWords, verdictWords } from "./words";

const DRIVERS_SHOWN = 8;
const ROUNDS_MAX = 100;

interface Props {
  api: Api;
  trip: Trip;
  policies: string[];
}

export function Why({ api, trip, policies }: Props) {
  const path = `/v1/rounds?tripId=${trip.tripId}&limit=${ROUNDS_MAX}`;
  const { data, problem, loading, again } = useOnce<{ rounds: Round[] }>(api, path);
  const [roundId, setRoundId] = useState<string>();
  // Another offer, another driver: there are more rounds to tell of.
  useEffect(again, [trip.version]);
  const rounds = data?.rounds ?? [];
  const current = rounds.find((round) => round.roundId === roundId) ?? rounds[0];
  const none = trip.state === "TRIP_STATE_EXPIRED" || (!trip.driver && !trip.openOffer);
  return (
    <section aria-labelledby="why-title" data-test="why">
      <h2 id="why-title">{none ? "Why no driver" : "Why this driver"}</h2>
      {problem && <Notice tone="warn">{problem}</Notice>}
      {!current && !loading && (
        <p class="small">No round of this ride is kept: it was not looked for yet, or longer ago than rounds are kept.</p>
      )}
      {rounds.length > 1 && current && (
        <label class="field">
          <span class="small">Looked for in {rounds.length === ROUNDS_MAX ? `the last ${ROUNDS_MAX}` : rounds.length} rounds</span>
          <select value={current.roundId} onChange={({ currentTarget }) => setRoundId(currentTarget.value)}>
            {rounds.map((round) => (
              <option key={round.roundId} value={round.roundId}>
                {clock(round.decidedAt)}, {round.policy}, {round.assigned} of {round.requests} got a driver
              </option>
            ))}
          </select>
        </label>
      )}
      {current && <RoundOf key={current.roundId} api={api} tripId={trip.tripId} round={current} policies={policies} />}
    </section>
  );
}

function RoundOf({ api, tripId, round, policies }: { api: Api; tripId: string; round: Round; policies: string[] }) {
  const { data, problem } = useOnce<Explained>(api, `/v1/rounds/${round.roundId}:explain`);
  const outcome = data?.outcomes.find((outcome) => outcome.tripId === tripId);
  if (problem) return <Notice tone="warn">{problem}</Notice>;
  if (!outcome) return <p class="small">One moment …</p>;
  return (
    <>
      <p data-test="why-told">{told(outcome)}</p>
      <Counts outcome={outcome} />
      <Drivers outcome={outcome} />
      <Otherwise api={api} round={round} tripId={tripId} policies={policies} />
    </>
  );
}

/** The round's decision in a sentence or two. */
export function told(outcome: Outcome): string {
  const waited = Number(outcome.waitedMs) < 1_000 ? "at once" : `after ${span(outcome.waitedMs)} of waiting`;
  if (!outcome.driverId) {
    const looked = outcome.drivers.length;
    if (looked === 0) return `Nobody was on shift near enough to be looked at, ${waited}.`;
    return `Of ${looked} drivers who were looked at ${waited}, none could be given this ride. A driver could be up to ${span(outcome.reachMs)} away.`;
  }
  const others = outcome.drivers.filter(({ driverId, pickupDurationMs }) => driverId !== outcome.driverId && pickupDurationMs !== undefined);
  const sooner = others.filter(({ pickupDurationMs }) => Number(pickupDurationMs) < Number(outcome.pickupDurationMs));
  const next = Math.min(...others.map(({ pickupDurationMs }) => Number(pickupDurationMs)).filter((ms) => ms >= Number(outcome.pickupDurationMs)));
  const when = outcome.waitsForDriver ? "has a ride to end first and could then be there in" : "could be there in";
  const shares = outcome.sharesWithTripId ? " The riders share the car with those of another ride." : "";
  const compared = sooner.length
    ? ` ${sooner.length} could have been there sooner, but ${sooner.length === 1 ? "was" : "were"} needed elsewhere or cost more under the policy.`
    : Number.isFinite(next)
      ? ` Nobody free could be there sooner; the next one would have needed ${span(next)}.`
      : " Nobody else could have come.";
  return `${outcome.driverId} ${when} ${span(outcome.pickupDurationMs)}, ${waited}.${compared}${shares}`;
}

/** What became of all who were looked at. */
function Counts({ outcome }: { outcome: Outcome }) {
  const counts = new Map<string, number>();
  for (const { reason } of outcome.drivers) if (reason !== "VERDICT_REASON_CHOSEN") counts.set(reason, (counts.get(reason) ?? 0) + 1);
  const sorted = [...counts].sort(([, a], [, b]) => b - a);
  if (sorted.length === 0) return null;
  return (
    <ul class="counts">
      {sorted.map(([reason, count]) => (
        <li key={reason}>
          <strong class="num">{count}</strong> {count === 1 ? verdictWords(reason).toLowerCase() : verdictsWords(reason)}
        </li>
      ))}
    </ul>
  );
}

function Drivers({ outcome }: { outcome: Outcome }) {
  const [all, setAll] = useState(false);
  const cost = (ms: string | undefined) => (ms === undefined ? Infinity : Number(ms));
  const sorted = [...outcome.drivers].sort((a, b) => cost(a.costMs) - cost(b.costMs));
  const chosen = sorted.findIndex(({ driverId }) => driverId === outcome.driverId);
  if (chosen > 0) sorted.unshift(...sorted.splice(chosen, 1));
  const shown = all ? sorted : sorted.slice(0, DRIVERS_SHOWN);
  if (sorted.length === 0) return null;
  return (
    <div class="scroll">
      <table>
        <caption class="visually-hidden">The drivers who were looked at</caption>
        <thead>
          <tr>
            <th scope="col">Driver</th>
            <th scope="col">Away</th>
            <th scope="col">Why</th>
          </tr>
        </thead>
        <tbody>
          {shown.map((verdict) => (
            <tr key={verdict.driverId} class={verdict.driverId === outcome.driverId ? "chosen" : undefined}>
              <th scope="row">
                <a href={`#/drivers/${encodeURIComponent(verdict.driverId)}`}>{short(verdict.driverId)}</a>
              </th>
              <td class="num">{span(verdict.pickupDurationMs)}</td>
              <td>
                {verdictWords(verdict.reason)}
                {verdict.takenByTripId && (
                  <>
                    {" "}
                    <a href={`#/trips/${verdict.takenByTripId}`}>{short(verdict.takenByTripId)}</a>
                  </>
                )}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {sorted.length > DRIVERS_SHOWN && (
        <button class="small quiet" aria-expanded={all} onClick={() => setAll(!all)}>
          {all ? "Show fewer" : `Show all ${sorted.length}`}
        </button>
      )}
    </div>
  );
}

/** The same round under another policy. */
function Otherwise({ api, round, tripId, policies }: { api: Api; round: Round; tripId: string; policies: string[] }) {
  const others = policies.filter((policy) => policy !== round.policy);
  const [policy, setPolicy] = useState(others[0] ?? "");
  const [replayed, setReplayed] = useState<Replayed>();
  const [problem, setProblem] = useState("");
  if (others.length === 0) return null;
  const replay = (event: Event) => {
    event.preventDefault();
    setProblem("");
    api.post<Replayed>(`/v1/rounds/${round.roundId}:replay`, { policy }).then(setReplayed, (error) => setProblem(wordsOf(error)));
  };
  const total = (of: "pickupDurationMs" | "replayedPickupDurationMs") =>
    replayed?.requests.reduce((sum, request) => sum + Number(request[of]), 0) ?? 0;
  return (
    <details class="otherwise">
      <summary>Under another policy</summary>
      <form class="row" onSubmit={replay}>
        <select aria-label="The other policy" class="grow" value={policy} onChange={({ currentTarget }) => setPolicy(currentTarget.value)}>
          {others.map((name) => (
            <option key={name}>{name}</option>
          ))}
        </select>
        <button class="small">Decide again</button>
      </form>
      {problem && <Notice tone="warn">{problem}</Notice>}
      {replayed && (
        <div class="scroll" aria-live="polite">
          <table data-test="replay">
            <caption class="small">
              {replayed.requests.length === 1 ? "One ride" : `${replayed.requests.length} rides`} in this round.{" "}
              {same(replayed) ? "Both policies decide the same." : "The policies differ."}
            </caption>
            <thead>
              <tr>
                <th scope="col">Ride</th>
                <th scope="col">{round.policy}</th>
                <th scope="col">{replayed.policy}</th>
              </tr>
            </thead>
            <tbody>
              {replayed.requests.map((request) => (
                <tr key={request.tripId} class={request.tripId === tripId ? "chosen" : undefined}>
                  <th scope="row">
                    <a href={`#/trips/${request.tripId}`}>{short(request.tripId)}</a>
                  </th>
                  <td>{request.driverId ? `${short(request.driverId)} in ${span(request.pickupDurationMs)}` : "nobody"}</td>
                  <td>{request.replayedDriverId ? `${short(request.replayedDriverId)} in ${span(request.replayedPickupDurationMs)}` : "nobody"}</td>
                </tr>
              ))}
            </tbody>
            <tfoot>
              <tr>
                <th scope="row">All pick-ups</th>
                <td class="num">{span(total("pickupDurationMs"))}</td>
                <td class="num">{span(total("replayedPickupDurationMs"))}</td>
              </tr>
            </tfoot>
          </table>
        </div>
      )}
    </details>
  );
}

const same = ({ requests }: Replayed) => requests.every(({ driverId, replayedDriverId }) => driverId === replayedDriverId);
