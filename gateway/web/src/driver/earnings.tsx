// What a driver has earned and is owed, movement by movement, and what was paid out.

import { useEffect, useState } from "preact/hooks";

import type { Api } from "../lib/api";
import { day, isZero, money } from "../lib/format";
import { Notice, wordsOf } from "../lib/notice";
import type { Money } from "../lib/types";

interface Statement {
  month: string;
  complete: boolean;
  rides: number;
  opening: Money;
  fares: Money;
  tips: Money;
  refunds: Money;
  cashDues: Money;
  payouts: Money;
  closing: Money;
  entries: { at: string; kind: string; aboutId: string; amount: Money }[];
}

interface Payout {
  payoutId: string;
  state: string;
  amount: Money;
  dues?: Money;
  failureReason: string;
  createdAt: string;
  closedAt?: string;
}

const ENTRIES: Record<string, string> = {
  CAPTURE: "Your share of a fare",
  REFUND: "Given back to a rider",
  TIP: "Tip",
  PAYOUT: "Paid out",
  PAYOUT_FAILED: "A payout that came back",
  CHARGEBACK: "A payment that was taken back",
  CHARGEBACK_WON: "A payment that was given to you after all",
};

const PAYOUTS: Record<string, string> = { OPEN: "on its way", SETTLED: "arrived", FAILED: "came back" };

const thisMonth = () => new Date().toISOString().slice(0, 7);
const other = (month: string, by: number) => {
  const [year = 0, number = 1] = month.split("-").map(Number);
  return new Date(Date.UTC(year, number - 1 + by, 15)).toISOString().slice(0, 7);
};
const named = (month: string) => new Date(`${month}-15T12:00:00Z`).toLocaleDateString([], { month: "long", year: "numeric" });

export function Earnings({ api }: { api: Api }) {
  const [month, setMonth] = useState(thisMonth);
  const [statement, setStatement] = useState<Statement>();
  const [balance, setBalance] = useState<{ balances: Money[]; cashDues: Money[] }>();
  const [payouts, setPayouts] = useState<Payout[]>([]);
  const [rating, setRating] = useState<{ ratings: string; stars: string }>();
  const [problem, setProblem] = useState("");
  const path = `/v1/drivers/${api.session.id}`;

  useEffect(() => {
    const ask = async () => {
      const [balance, { payouts }, rating] = await Promise.all([
        api.get<{ balances: Money[]; cashDues: Money[] }>(`${path}/balance`),
        api.get<{ payouts: Payout[] }>(`${path}/payouts`, { pageSize: 10 }),
        api.get<{ ratings: string; stars: string }>(`${path}/rating`),
      ]);
      setBalance(balance);
      setPayouts(payouts);
      setRating(rating);
    };
    ask().catch((error) => setProblem(wordsOf(error)));
  }, [api]);
  useEffect(() => {
    let current = true;
    setStatement(undefined);
    api.get<{ statement: Statement }>(`${path}/statements/${month}`).then(
      ({ statement }) => current && setStatement(statement),
      (error) => current && setProblem(wordsOf(error)),
    );
    return () => void (current = false);
  }, [api, month]);

  const save = async () => {
    try {
      const url = URL.createObjectURL(await api.file(`${path}/statements/${month}:document`));
      const link = document.createElement("a");
      link.href = url;
      link.download = `statement-${month}.csv`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
    } catch (error) {
      setProblem(wordsOf(error));
    }
  };
  const mean = rating && Number(rating.ratings) > 0 ? (Number(rating.stars) / Number(rating.ratings)).toFixed(1) : "";
  return (
    <div class="stack" data-test="earnings">
      <h1>Earnings</h1>
      {problem && <Notice tone="bad">{problem}</Notice>}
      <section class="card stack" aria-label="What you are owed">
        <div class="spread">
          <h2>Owed to you now</h2>
          <span class="big" data-test="owed">
            {balance ? (balance.balances.length ? balance.balances.map(money).join(", ") : "nothing yet") : "…"}
          </span>
        </div>
        {balance?.cashDues
          .filter((amount) => !isZero(amount))
          .map((amount) => (
            <p key={amount.currencyCode} class="small">
              {money(amount)} of the cash you took is the city's. It is kept back from your next payout.
            </p>
          ))}
        {mean && (
          <p class="small">
            Riders give you {mean} of 5 stars, {rating?.ratings === "1" ? "from one rating" : `from ${rating?.ratings} ratings`}.
          </p>
        )}
      </section>
      <section class="stack" aria-label="The month">
        <div class="row">
          <button class="small" onClick={() => setMonth(other(month, -1))} aria-label="The month before">
            ‹
          </button>
          <h2 class="grow month" aria-live="polite">
            {named(month)}
          </h2>
          <button class="small" disabled={month >= thisMonth()} onClick={() => setMonth(other(month, 1))} aria-label="The month after">
            ›
          </button>
        </div>
        {!statement && !problem && <p role="status">One moment …</p>}
        {statement && (
          <>
            <dl class="lines card">
              {(
                [
                  ["At the beginning", statement.opening],
                  [`Fares, ${statement.rides === 1 ? "one ride" : `${statement.rides} rides`}`, statement.fares],
                  ["Tips", statement.tips],
                  ["Given back", statement.refunds],
                  ["The city's share of your cash", statement.cashDues],
                  ["Paid out", statement.payouts],
                ] as [string, Money][]
              )
                .filter(([, amount], number) => number < 2 || !isZero(amount))
                .map(([name, amount]) => (
                  <div key={name}>
                    <dt>{name}</dt>
                    <dd class="num">{money(amount)}</dd>
                  </div>
                ))}
              <div class="total">
                <dt>
                  <strong>{statement.complete ? "At the end" : "Owed to you"}</strong>
                </dt>
                <dd class="num">
                  <strong>{money(statement.closing)}</strong>
                </dd>
              </div>
            </dl>
            <ul class="entries">
              {statement.entries
                .slice()
                .reverse()
                .map((entry, number) => (
                  <li key={number}>
                    <span class="grow">
                      {ENTRIES[entry.kind.replace("ENTRY_KIND_", "")] ?? entry.kind}
                      <span class="small">{day(entry.at)}</span>
                    </span>
                    <span class="num">{money(entry.amount)}</span>
                  </li>
                ))}
            </ul>
            <button onClick={save}>Save as a table (CSV)</button>
          </>
        )}
      </section>
      <section class="stack" aria-label="Payouts">
        <h2>Payouts</h2>
        {payouts.length === 0 && <p class="small">None yet. The city pays out what it owes you; you see here when.</p>}
        <ul class="entries">
          {payouts.map((payout) => (
            <li key={payout.payoutId}>
              <span class="grow">
                {PAYOUTS[payout.state.replace("PAYOUT_STATE_", "")] ?? ""}
                {payout.failureReason && `: ${payout.failureReason}`}
                <span class="small">{day(payout.closedAt ?? payout.createdAt)}</span>
              </span>
              <span class="num">{money(payout.amount)}</span>
            </li>
          ))}
        </ul>
      </section>
    </div>
  );
}
