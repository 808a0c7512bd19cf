// Where the money of a ride went: the price line by line, how it was shared out, and every entry of the
// journal.

import { useEffect } from "preact/hooks";

import type { Api } from "../lib/api";
import { FareLines, negative, sumOf } from "../lib/fare";
import { isZero, money, plus } from "../lib/format";
import { Notice } from "../lib/notice";
import type { Money, Receipt, Trip } from "../lib/types";
import { useOnce } from "./poll";
import type { JournalEntry } from "./types";
import { accountWords, clock, entryWords, plain, short } from "./words";

export function Ledger({ api, trip }: { api: Api; trip: Trip }) {
  const entries = useOnce<{ entries: JournalEntry[] }>(api, `/v1/trips/${trip.tripId}/entries`);
  const moved = (entries.data?.entries.length ?? 0) > 0;
  const receipt = useOnce<{ receipt: Receipt & { platformShare?: Money } }>(api, moved ? `/v1/trips/${trip.tripId}/receipt` : undefined);
  // Money moves when the ride does, and a little later.
  useEffect(() => {
    entries.again();
    const timer = setTimeout(entries.again, 2_500);
    return () => clearTimeout(timer);
  }, [trip.version, trip.paymentState]);
  const paid = receipt.data?.receipt;
  return (
    <section aria-labelledby="ledger-title" data-test="ledger">
      <h2 id="ledger-title">Where the money went</h2>
      {entries.problem && <Notice tone="warn">{entries.problem}</Notice>}
      {!moved && !entries.loading && (
        <p class="small">
          No money has moved. The payment is {plain(trip.paymentState, "PAYMENT_STATE_").toLowerCase()}
          {trip.paymentState === "PAYMENT_STATE_HELD" && `: ${money(trip.fare)} is set aside until the ride ends`}.
        </p>
      )}
      {paid && <Shares receipt={paid} />}
      {paid && (
        <details>
          <summary>
            The price, line by line <span class="num">{money(paid.total)}</span>
          </summary>
          <FareLines lines={paid.lines} />
        </details>
      )}
      {moved && (
        <details open>
          <summary>
            The journal <span class="num">{entries.data?.entries.length} entries</span>
          </summary>
          <p class="small">Each entry comes to zero: what is owed to us or spent has no sign, what we owe or earned has a minus.</p>
          {entries.data?.entries.map((entry) => (
            <Entry key={entry.kind + entry.number} entry={entry} />
          ))}
        </details>
      )}
    </section>
  );
}

/** Who got how much of what was paid. */
function Shares({ receipt }: { receipt: Receipt & { platformShare?: Money } }) {
  const tips = receipt.lines.filter(({ kind }) => kind === "FARE_LINE_KIND_TIP").map(({ amount }) => amount);
  const driver = [receipt.driverShare, ...tips].filter((part) => part !== undefined).reduce((a, b) => plus(a, b));
  const off = sumOf(receipt.lines, (kind) => kind === "PROMOTION");
  const parts: [string, string, Money | undefined][] = [
    ["driver", tips.length ? "Driver, tips included" : "Driver", driver],
    ["platform", "Platform", receipt.platformShare],
    ["tax", "Tax", receipt.tax],
  ];
  // Only the widths of a picture: amounts themselves are never reckoned with as these numbers.
  const width = (amount: Money | undefined) => Math.max(0, Number(amount?.minorUnits ?? 0));
  return (
    <>
      <div class="shares money" aria-hidden="true">
        {parts.map(([kind, , amount]) => (
          <span key={kind} class={kind} style={{ flexGrow: width(amount) }} />
        ))}
      </div>
      <ul class="legend money" data-test="shares">
        {parts.map(([kind, words, amount]) => (
          <li key={kind}>
            <span class={`dot ${kind}`} aria-hidden="true" />
            {words}
            <span class="num">{money(amount)}</span>
          </li>
        ))}
        {off && (
          <li>
            <span class="dot back" aria-hidden="true" />
            Of this a promotion, borne by the platform
            <span class="num">{money(negative(off))}</span>
          </li>
        )}
        {!isZero(receipt.refunded) && (
          <li>
            <span class="dot back" aria-hidden="true" />
            Given back to the rider
            <span class="num">{money(receipt.refunded)}</span>
          </li>
        )}
      </ul>
    </>
  );
}

function Entry({ entry }: { entry: JournalEntry }) {
  return (
    <table class="entry">
      <caption class="spread">
        <strong>{entryWords(entry.kind)}</strong> <span class="small num">{clock(entry.postedAt)}</span>
      </caption>
      <tbody>
        {entry.postings.map((posting, number) => (
          <tr key={number}>
            <th scope="row">
              {accountWords(posting.account)} {posting.ownerId && <span class="small">{short(posting.ownerId)}</span>}
            </th>
            <td class="num">{money(posting.amount)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
