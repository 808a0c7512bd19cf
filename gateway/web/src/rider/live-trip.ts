// The ride that a rider's page is about.

import type { Api } from "../lib/api";
import type { Trip } from "../lib/types";

/** A ride in one of these is what the page is about. */
const LIVE = ["SEARCHING", "OFFERED", "ASSIGNED", "DRIVER_ARRIVED", "IN_PROGRESS"].map((state) => `TRIP_STATE_${state}`);

/** The ride under way, if there is one. */
export async function liveTrip(api: Api): Promise<Trip | undefined> {
  const { trips } = await api.get<{ trips: Trip[] }>("/v1/trips", { pageSize: 1, states: LIVE });
  return trips[0];
}
