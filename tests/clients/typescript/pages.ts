// The web pages have types of their own for what they use of the API. This compiles only while the document
// has all of it, in the same form.

import type { components } from "./api.js";
import type * as pages from "./types.js";

type Schemas = components["schemas"];

/** As answers come: what the document calls optional is there, and no trip is in no state. */
type Whole<T> = T extends object ? { [K in keyof T]-?: Whole<NonNullable<T[K]>> } : Exclude<T, "TRIP_STATE_UNSPECIFIED">;

/** What the pages may be sent. */
export function sent(answers: {
  area: Whole<Schemas["jitney.matching.v1.GetServiceAreaResponse"]>;
  quotes: Whole<Schemas["jitney.trips.v1.QuoteTripResponse"]>;
  trip: Whole<Schemas["jitney.trips.v1.Trip"]>;
  position: Whole<Schemas["jitney.trips.v1.DriverPosition"]>;
  receipt: Whole<Schemas["jitney.billing.v1.Receipt"]>;
}): {
  area: Whole<pages.ServiceArea>;
  quotes: Whole<pages.Quotes>;
  trip: Whole<pages.Trip>;
  position: Whole<pages.DriverPosition>;
  receipt: Whole<pages.Receipt>;
} {
  return answers;
}
