// The operators' page on a living city: who is where, a ride found and explained, its money, a ride called
// off, another policy, and two policies held against each other. TOKEN is an operator's, REPORT the file
// of a simulation.

import assert from "node:assert/strict";

import { eventually, run } from "./browser.mjs";

const { TOKEN, REPORT, API } = process.env;
assert(TOKEN, "TOKEN is given");

const ask = async (path, init = {}) => {
  const answer = await fetch(API + path, { ...init, headers: { Authorization: `Bearer ${TOKEN}`, "Content-Type": "application/json" } });
  assert(answer.ok, `${path}: ${answer.status} ${await answer.clone().text()}`);
  return answer.json();
};

await run(async (arrive) => {
  const city = await arrive({ name: "operator", viewport: { width: 1440, height: 900 }, expected: [/GPU stall due to ReadPixels/] });
  const { page } = city;
  await city.open("/city");
  await city.accessible("the city's door");
  await city.open(`/city#token=${TOKEN}`);
  await page.reload();

  // Drivers are on the map, and counted.
  const counted = async () => Number((await page.locator("[data-test=drivers]").textContent()).replace(/\D/g, ""));
  await eventually("drivers are counted", async () => (await counted()) > 0);
  await city.mapDrawn();
  assert(!new URL(page.url()).hash.includes("token"), "the token is gone from the address");
  await page.waitForFunction(() => performance.getEntriesByName("city-drawn").length > 0);
  await city.picture("city");
  await city.accessible("the city");

  // A ride that was driven before the page was opened, found by its id.
  const driven = await eventually("a ride was driven", async () => {
    const { trips } = await ask("/v1/trips?states=TRIP_STATE_COMPLETED&pageSize=20");
    return trips.find(({ paymentState }) => paymentState === "PAYMENT_STATE_CAPTURED");
  });
  const find = page.getByRole("combobox", { name: "Find a ride, driver, rider or street" });
  await find.fill(driven.tripId);
  await page.getByRole("option").first().waitFor();
  await find.press("Enter");
  await page.locator("[data-test=trip-state][data-state=TRIP_STATE_COMPLETED]").waitFor();
  // What happened, why this driver, where the money went.
  const timeline = page.locator("[data-test=timeline] li");
  await timeline.nth(4).waitFor();
  for (const words of ["Looking for a driver", "Offered to a driver", "Driver on the way", "Under way", "Driven"]) {
    await timeline.getByText(words, { exact: true }).first().waitFor();
  }
  const why = page.locator("[data-test=why-told]");
  await why.waitFor();
  assert.match(await why.textContent(), /could (be|then be) there in .*, (at once|after .* of waiting)\./);
  const ledger = page.locator("[data-test=ledger]");
  await ledger.getByText("The fare was taken").first().waitFor();
  await ledger.getByText("Owed to the driver").first().waitFor();
  await page.locator("[data-test=shares]").waitFor();
  const { entries } = await ask(`/v1/trips/${driven.tripId}/entries`);
  assert.equal(await ledger.locator("table.entry").count(), entries.length, "every entry is shown");
  await page.getByRole("button", { name: "Show on the map" }).click();
  await city.mapDrawn();
  await city.picture("city-trip");
  await city.accessible("a ride");

  // Its driver, and back by the keyboard.
  await page.locator(".details .facts a").nth(1).click();
  await page.locator("[data-test=driver-state]").waitFor();
  await city.picture("city-driver");
  await city.accessible("a driver");
  await page.locator(".details").press("Escape");
  await page.locator(".details").waitFor({ state: "detached" });

  // A ride that waits is called off; nothing happens without the question being answered.
  const rider = `lost-${Date.now()}`;
  const place = (latitude, longitude) => ({ latitude, longitude });
  const { trip } = await ask("/v1/trips", {
    method: "POST",
    body: JSON.stringify({ riderId: rider, pickup: place(43.7393, 7.4276), dropoff: place(43.735, 7.4213), product: "van", idempotencyKey: rider }),
  });
  await find.fill(rider);
  await page.getByRole("option", { name: /Rider/ }).first().waitFor();
  await find.press("Enter");
  await page.getByRole("link", { name: /Looking for|Offered|on the way|at the pick-up|Under way|No driver/ }).first().click();
  await page.locator("[data-test=cancel]").click();
  const dialog = page.getByRole("dialog", { name: "Call this ride off?" });
  await dialog.waitFor();
  await city.accessible("the question");
  await dialog.getByRole("button", { name: "Keep the ride" }).click();
  await dialog.waitFor({ state: "detached" });
  assert.notEqual((await ask(`/v1/trips/${trip.tripId}`)).trip.state, "TRIP_STATE_CANCELLED", "nothing happened yet");
  await page.locator("[data-test=cancel]").click();
  await dialog.getByLabel("Why, for the rider and the log").fill("a test of the page");
  await city.picture("city-cancel");
  await dialog.locator("[data-test=cancel-confirm]").click();
  await page.locator("[data-test=trip-state][data-state=TRIP_STATE_CANCELLED]").waitFor();
  const { transitions } = await ask(`/v1/trips/${trip.tripId}`);
  assert.equal(transitions.at(-1).actor, "ACTOR_OPERATOR");
  await page.locator("[data-test=timeline]").getByText("a test of the page").waitFor();

  // Another policy, after a question.
  const before = await ask("/v1/policy");
  const other = before.policies.find(({ name }) => name !== before.policy).name;
  await page.locator("[data-test=policy]").click();
  await page.getByRole("radio", { name: new RegExp(`^${other}`) }).check();
  await page.getByText("From the next round on").waitFor();
  await city.picture("city-policy");
  await city.accessible("the policies");
  assert.equal((await ask("/v1/policy")).policy, before.policy, "nothing is switched before the question is answered");
  await page.locator("[data-test=policy-confirm]").click();
  await page.locator("[data-test=policy]").getByText(other).waitFor();
  assert.equal((await ask("/v1/policy")).policy, other);
  await ask("/v1/policy:use", { method: "POST", body: JSON.stringify({ policy: before.policy }) });

  // Two policies side by side.
  if (REPORT) {
    await page.getByRole("link", { name: "Compare" }).click();
    await page.locator("[data-test=report]").setInputFiles(REPORT);
    await page.locator("[data-test=versus] tbody tr").nth(10).waitFor();
    await city.picture("city-compare");
    await city.accessible("the comparison");
    await page.locator("[data-test=report]").setInputFiles({ name: "odd.json", mimeType: "application/json", buffer: Buffer.from("{}") });
    await page.getByRole("alert").getByText("not the report of a simulation").waitFor();
  }
});
