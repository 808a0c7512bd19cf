// Two policies side by side, from the report of `jitney simulate --offline --compare a,b --json`.

import { useRef, useState } from "preact/hooks";

import { Notice } from "../lib/notice";

interface Spans {
  mean_s: number;
  median_s: number;
  p95_s: number;
}

interface Outcome {
  policy: string;
  drivers: number;
  seed: number;
  rides: { requested: number; served: number; chained: number; joined: number; gave_up: number; called_off: number; expired: number };
  served_share: number;
  assignment: Spans;
  pickup: Spans;
  pickup_drive: Spans;
  empty_km: number;
  loaded_km: number;
  utilisation: number;
  income_gini: number;
  offers: { made: number; declined: number; expired: number };
  rounds: { held: number; requests_mean: number; plan_ms_mean: number };
}

interface Report {
  scenarios: { map: string; rides: number }[];
  outcomes: Outcome[];
}

interface Measure {
  name: string;
  of: (outcome: Outcome) => number;
  say: (value: number) => string;
  /** Which way is better; nothing where neither is. */
  better?: "more" | "less";
}

const seconds = (value: number) => (value < 90 ? `${value.toFixed(1)} s` : `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`);
const percent = (value: number) => `${(value * 100).toFixed(1)} %`;
const whole = (value: number) => Math.round(value).toLocaleString();

const MEASURES: Measure[] = [
  { name: "Served", of: (o) => o.served_share, say: percent, better: "more" },
  { name: "Rides driven", of: (o) => o.rides.served, say: whole, better: "more" },
  { name: "Riders who gave up", of: (o) => o.rides.gave_up, say: whole, better: "less" },
  { name: "No driver found", of: (o) => o.rides.expired, say: whole, better: "less" },
  { name: "Pick-up, on average", of: (o) => o.pickup.mean_s, say: seconds, better: "less" },
  { name: "Pick-up, median", of: (o) => o.pickup.median_s, say: seconds, better: "less" },
  { name: "Pick-up, slowest of 20", of: (o) => o.pickup.p95_s, say: seconds, better: "less" },
  { name: "Until a driver was found", of: (o) => o.assignment.mean_s, say: seconds, better: "less" },
  { name: "Drive to the rider", of: (o) => o.pickup_drive.mean_s, say: seconds, better: "less" },
  { name: "Driven empty", of: (o) => o.empty_km, say: (km) => `${whole(km)} km`, better: "less" },
  { name: "Driven with a rider", of: (o) => o.loaded_km, say: (km) => `${whole(km)} km` },
  { name: "Time on shift that is paid", of: (o) => o.utilisation, say: percent, better: "more" },
  { name: "Unevenness of drivers' income", of: (o) => o.income_gini, say: (gini) => gini.toFixed(3), better: "less" },
  { name: "Offers made", of: (o) => o.offers.made, say: whole },
  { name: "Rounds held", of: (o) => o.rounds.held, say: whole },
  { name: "A round takes", of: (o) => o.rounds.plan_ms_mean, say: (ms) => `${ms.toFixed(2)} ms`, better: "less" },
];

/** A report as somebody's file holds it; throws what is wrong with it, in words. */
export function read(text: string): Report {
  let report: Partial<Report>;
  try {
    report = JSON.parse(text) as Partial<Report>;
  } catch {
    throw new Error("This file is not JSON.");
  }
  const outcomes = report.outcomes;
  const isOutcome = (outcome: Partial<Outcome>) => typeof outcome?.policy === "string" && outcome.rides && outcome.pickup && outcome.rounds;
  if (!Array.isArray(outcomes) || !outcomes.every(isOutcome)) {
    throw new Error("This file is not the report of a simulation: it has no outcomes of policies.");
  }
  if (new Set(outcomes.map(({ policy }) => policy)).size < 2) throw new Error("This report has one policy only; there is nothing to hold it against.");
  return { scenarios: Array.isArray(report.scenarios) ? report.scenarios : [], outcomes };
}

export function Compare() {
  const [report, setReport] = useState<Report>();
  const [name, setName] = useState("");
  const [problem, setProblem] = useState("");
  const [over, setOver] = useState(false);
  const picker = useRef<HTMLInputElement>(null);
  const open = async (file: File | undefined) => {
    if (!file) return;
    try {
      setReport(read(await file.text()));
      setName(file.name);
      setProblem("");
    } catch (error) {
      setProblem(error instanceof Error ? error.message : "This file cannot be read.");
    }
  };
  return (
    <main
      class={`compare ${over ? "over" : ""}`}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault();
        setOver(false);
        void open(event.dataTransfer?.files[0]);
      }}
    >
      <header class="stack">
        <h1>Two policies, the same day</h1>
        <p class="lead">The same riders and drivers under each policy, simulated by the code that runs the city.</p>
      </header>
      {problem && <Notice tone="bad">{problem}</Notice>}
      <div class="drop">
        <p>
          Make a report, and drop the file here:
          <br />
          <code>jitney simulate --offline --compare immediate,batched --json &gt; report.json</code>
        </p>
        <button class="primary" onClick={() => picker.current?.click()}>
          Open a report …
        </button>
        <input
          ref={picker}
          class="visually-hidden"
          tabIndex={-1}
          type="file"
          accept=".json,application/json"
          aria-label="Report of a simulation"
          data-test="report"
          onChange={({ currentTarget }) => void open(currentTarget.files?.[0])}
        />
      </div>
      {report && <Table key={name} report={report} name={name} />}
    </main>
  );
}

function Table({ report, name }: { report: Report; name: string }) {
  const policies = [...new Set(report.outcomes.map(({ policy }) => policy))];
  const fleets = [...new Set(report.outcomes.map(({ drivers }) => drivers))];
  const [[left, right], setPair] = useState<[string, string]>([policies[0] ?? "", policies[1] ?? ""]);
  const [fleet, setFleet] = useState(fleets[0] ?? 0);
  const of = (policy: string) => report.outcomes.filter((outcome) => outcome.policy === policy && outcome.drivers === fleet);
  const mean = (policy: string, measure: Measure) => {
    const values = of(policy).map(measure.of);
    return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
  };
  const pick = (side: 0 | 1, words: string) => (
    <label class="field">
      <span class="visually-hidden">{words}</span>
      <select
        value={side ? right : left}
        onChange={({ currentTarget }) => setPair(side ? [left, currentTarget.value] : [currentTarget.value, right])}
      >
        {policies.map((policy) => (
          <option key={policy}>{policy}</option>
        ))}
      </select>
    </label>
  );
  const runs = of(left).length;
  return (
    <section aria-label="The comparison" class="stack">
      <p class="small">
        {name}: {report.scenarios[0]?.map && `${report.scenarios[0].map}, `}
        {whole(of(left)[0]?.rides.requested ?? 0)} rides asked for, {fleet} drivers
        {runs > 1 && `, means of ${runs} runs`}.
      </p>
      {fleets.length > 1 && (
        <label class="field">
          Drivers
          <select value={fleet} onChange={({ currentTarget }) => setFleet(Number(currentTarget.value))}>
            {fleets.map((count) => (
              <option key={count} value={count}>
                {count}
              </option>
            ))}
          </select>
        </label>
      )}
      <div class="scroll">
        <table class="versus" data-test="versus">
          <caption class="visually-hidden">
            {left} and {right}, side by side
          </caption>
          <thead>
            <tr>
              <th scope="col">
                <span class="visually-hidden">Measure</span>
              </th>
              <th scope="col">{pick(0, "The first policy")}</th>
              <th scope="col">{pick(1, "The other policy")}</th>
              <th scope="col">Difference</th>
            </tr>
          </thead>
          <tbody>
            {MEASURES.map((measure) => {
              const [a, b] = [mean(left, measure), mean(right, measure)];
              const most = Math.max(a, b);
              const change = a === 0 ? (b === 0 ? 0 : Infinity) : (b - a) / a;
              const gain = Math.abs(change) < 0.002 || !measure.better ? "" : (measure.better === "more") === b > a ? "gain" : "loss";
              const shown = Number.isFinite(change) ? `${change > 0 ? "+" : ""}${(change * 100).toFixed(1)} %` : "new";
              const bar = (value: number, kind: string) => (
                <td>
                  <span class="num">{measure.say(value)}</span>
                  <span class={`bar ${kind}`} style={{ width: `${most > 0 ? (value / most) * 100 : 0}%` }} aria-hidden="true" />
                </td>
              );
              return (
                <tr key={measure.name}>
                  <th scope="row">{measure.name}</th>
                  {bar(a, "first")}
                  {bar(b, "second")}
                  <td class={`num ${gain}`}>
                    {shown}
                    {gain && <span class="visually-hidden">, {gain === "gain" ? "better" : "worse"}</span>}
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </section>
  );
}
