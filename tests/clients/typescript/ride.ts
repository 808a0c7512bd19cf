// A rider's app on the generated client: log in, ask what a ride costs, ask for it, read it, call it off.
// Given by the test: API, the gateway's address, and LOG, the program's log, where the login's code is.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { setTimeout } from "node:timers/promises";

import createClient from "openapi-fetch";

import type { components, paths } from "./api.js";

type Trip = components["schemas"]["jitney.trips.v1.Trip"];

const { API, LOG } = process.env;
assert(API && LOG, "API and LOG are given");

const CASINO = { latitude: 43.7393, longitude: 7.4276 };
const PORT = { latitude: 43.735, longitude: 7.4213 };

/** What a call that must have worked brought. */
function given<T>(answer: { data?: T; error?: unknown; response: Response }): T {
  const { data, error, response } = answer;
  assert(response.ok && data !== undefined, `${response.url}: ${response.status} ${JSON.stringify(error)}`);
  return data;
}

/** The code of a login: the development login writes it to the log instead of sending it. */
async function codeOf(loginId: string): Promise<string> {
  for (let tries = 0; tries < 200; tries += 1) {
    for (const line of (await readFile(LOG!, "utf8")).split("\n")) {
      if (line.includes(loginId) && line.endsWith("}")) {
        const { code } = JSON.parse(line) as { code?: unknown };
        if (typeof code === "string") return code;
      }
    }
    await setTimeout(50);
  }
  throw new Error("no code was written to the log");
}

const nobody = createClient<paths>({ baseUrl: API });
const refused = await nobody.GET("/v1/trips/{trip_id}", { params: { path: { trip_id: "x" } } });
assert.equal(refused.response.status, 401);
assert.equal(refused.error?.code, 16);

// The login.
const { loginId } = given(await nobody.POST("/v1/login:start", { body: { phone: "+377 93 15 00 00" } }));
const code = await codeOf(loginId);
const tokens = given(await nobody.POST("/v1/login:finish", { body: { loginId, code, role: "rider" } }));
const rider = createClient<paths>({
  baseUrl: API,
  headers: { Authorization: `Bearer ${tokens.accessToken}` },
});

// What it costs.
const { quotes } = given(await rider.POST("/v1/quotes", { body: { pickup: CASINO, dropoff: PORT } }));
const quote = quotes?.find((one) => one.product === "economy");
assert(quote?.quoteId && quote.fare, JSON.stringify(quotes));
assert.match(quote.fare.minorUnits ?? "", /^[1-9][0-9]*$/);

// The ride, asked for twice under one key.
const order = {
  body: { quoteId: quote.quoteId },
  params: { header: { "Idempotency-Key": "my-first-ride" } },
};
const created = given(await rider.POST("/v1/trips", order)).trip;
const again = given(await rider.POST("/v1/trips", order)).trip;
assert(created?.tripId);
assert.equal(again?.tripId, created.tripId);
assert.deepEqual(created.fare, quote.fare);

// Read, alone and in the list.
const path = { trip_id: created.tripId };
const read = given(await rider.GET("/v1/trips/{trip_id}", { params: { path } })).trip;
const live: Trip["state"][] = ["TRIP_STATE_SEARCHING", "TRIP_STATE_OFFERED"];
assert(live.includes(read?.state), read?.state);
assert.equal(read?.riderId, tokens.id);
const list = given(await rider.GET("/v1/trips", { params: { query: { pageSize: 5 } } }));
assert.deepEqual(list.trips?.map((trip) => trip.tripId), [created.tripId]);

// Somebody else's is as if it were not there.
const missing = await rider.GET("/v1/trips/{trip_id}", {
  params: { path: { trip_id: "0190a000-0000-7000-8000-000000000001" } },
});
assert.equal(missing.response.status, 404);
assert.equal(missing.error?.details?.[0]?.["@type"], "type.googleapis.com/google.rpc.ErrorInfo");

// Called off.
const cancel = { params: { path }, body: { reason: "changed my mind" } };
const cancelled = given(await rider.POST("/v1/trips/{trip_id}:cancel", cancel)).trip;
assert.equal(cancelled?.state, "TRIP_STATE_CANCELLED");

// What the types must not let through. The compiler fails where one of these would pass.
export async function mistakes() {
  // @ts-expect-error: there is no such path
  await rider.GET("/v1/trip");
  // @ts-expect-error: degrees are numbers
  await rider.POST("/v1/quotes", { body: { pickup: { latitude: "43.7", longitude: 7.4 } } });
  // @ts-expect-error: 64-bit integers are strings
  await rider.POST("/v1/trips/{trip_id}:cancel", { params: { path }, body: { maxFee: { minorUnits: 5 } } });
  // @ts-expect-error: there is no such state
  await rider.GET("/v1/trips", { params: { query: { states: ["TRIP_STATE_LOST"] } } });
  // @ts-expect-error: the trip has to be named
  await rider.GET("/v1/trips/{trip_id}", {});
  // @ts-expect-error: a login has a role
  await nobody.POST("/v1/login:finish", { body: { loginId, code } });
}

console.log(`the ride ${created.tripId} was quoted, asked for, read and called off`);
