// What a price is made of, line by line, and in words what each line is for.

import { isZero, money, plus } from "./format";
import type { FareLine, Money } from "./types";

const LINES: Record<string, [name: string, told: string]> = {
  FARE_LINE_KIND_BASE: ["Base fare", ""],
  FARE_LINE_KIND_DISTANCE: ["Distance", "for every kilometre"],
  FARE_LINE_KIND_TIME: ["Time", "for every minute of driving"],
  FARE_LINE_KIND_MINIMUM_TOP_UP: ["Up to the minimum fare", "short rides cost no less"],
  FARE_LINE_KIND_BOOKING_FEE: ["Booking fee", "for arranging the ride"],
  FARE_LINE_KIND_TAX: ["Tax", "handed on to the state"],
  FARE_LINE_KIND_CANCELLATION_FEE: ["Cancellation fee", "the ride was called off late"],
  FARE_LINE_KIND_NO_SHOW_FEE: ["No-show fee", "nobody came to the car"],
  FARE_LINE_KIND_WAITING: ["Waiting", "the driver waited beyond the free minutes"],
  FARE_LINE_KIND_NIGHT: ["Night", ""],
  FARE_LINE_KIND_EXTRA_STOP: ["Stops on the way", ""],
  FARE_LINE_KIND_SURGE: ["Busy time", "cars were scarce"],
  FARE_LINE_KIND_ZONE_FEE: ["Zone", "for beginning or ending there"],
  FARE_LINE_KIND_TOLL: ["Toll", "for roads or bridges on the way"],
  FARE_LINE_KIND_TIP: ["Tip", "all of it for the driver"],
  FARE_LINE_KIND_PROMOTION: ["Promotion", "your code took it off"],
  FARE_LINE_KIND_DUES: ["From earlier rides", "fees that were still open"],
};

/** A line's name, and what it is for. A kind that is newer than this page is named as the API does. */
export function lineWords(kind: string): [string, string] {
  const plain = kind.replace("FARE_LINE_KIND_", "").toLowerCase().replaceAll("_", " ");
  return LINES[kind] ?? [plain[0]?.toUpperCase() + plain.slice(1), ""];
}

/** What the lines of some kinds come to; nothing where there are none. */
export function sumOf(lines: FareLine[], is: (kind: string) => boolean): Money | undefined {
  const amounts = lines.filter(({ kind }) => is(kind.replace("FARE_LINE_KIND_", ""))).map(({ amount }) => amount);
  return amounts.length ? amounts.reduce(plus) : undefined;
}

export const negative = (amount: Money): Money => ({ ...amount, minorUnits: (-BigInt(amount.minorUnits)).toString() });

export function FareLines({ lines }: { lines: FareLine[] }) {
  return (
    <dl class="lines">
      {lines
        .filter(({ amount }) => !isZero(amount))
        .map(({ kind, amount }, number) => {
          const [name, told] = lineWords(kind);
          return (
            <div key={number}>
              <dt>
                {name} {told && <span class="small">{told}</span>}
              </dt>
              <dd class="num">{money(amount)}</dd>
            </div>
          );
        })}
    </dl>
  );
}
