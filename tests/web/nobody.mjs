// A ride that nobody takes: the page says so, and why, in plain words. Also what the pages do without a
// session, with one that ends, and with a link that shows nothing.

import assert from "node:assert/strict";

import { API, DESK, EARLY_OFFER, PHONE, eventually, run } from "./browser.mjs";

const { RIDER, DRIVER } = process.env;
assert(RIDER && DRIVER, "RIDER and DRIVER, their tokens, are given");

const call = async (path, token, { method = "GET", body } = {}) => {
  const answer = await fetch(API + path, {
    method,
    headers: { Authorization: `Bearer ${token}`, ...(body && { "Content-Type": "application/json" }) },
    ...(body && { body: JSON.stringify(body) }),
  });
  return answer.json();
};

await run(async (arrive) => {
  // The page to begin with leads to the others.
  const visitor = await arrive({ name: "visitor", viewport: DESK });
  await visitor.open("/");
  await visitor.sees(visitor.heading("Drive"));
  await visitor.picture("landing");
  await visitor.accessible("the landing page");
  await visitor.page.getByRole("link", { name: /Ride/ }).first().click();
  await visitor.sees("Your phone number");
  await visitor.open("/share#trip=nothing&token=nothing");
  await visitor.sees("This link is not whole.");
  await visitor.accessible("a broken link");

  // Signed in by a link: the token is not left in the address.
  const rider = await arrive({ name: "nobody", viewport: PHONE });
  await rider.open(`/rider#token=${RIDER}`);
  await rider.sees(rider.heading("Where to?"));
  assert(!rider.page.url().includes(RIDER), rider.page.url());
  assert(!(await rider.page.evaluate(() => document.cookie)), "no cookie is set");

  // From and to by the keyboard alone: type, arrow, Enter.
  for (const [name, typed] of [
    ["From", "place du casino"],
    ["To", "grimaldi"],
  ]) {
    const field = rider.page.getByRole("combobox", { name });
    await field.focus();
    await rider.page.keyboard.type(typed);
    await rider.page.getByRole("option").first().waitFor();
    await rider.page.keyboard.press("Enter");
    await eventually("the place is taken", async () => (await field.getAttribute("aria-expanded")) === "false");
  }
  await rider.sees("What the price is made of");
  await rider.sees(/is free right now. You may ask all the same/);
  await rider.page.getByText("What the price is made of").click();
  await rider.sees("Booking fee");
  await rider.wholePicture("nobody-prices");

  // Nobody is there at all.
  await rider.button(/^Request /).click();
  await rider.sees("Looking for a driver");
  await rider.picture("nobody-looking");
  await rider.accessible("looking for a driver");
  await rider.standing("EXPIRED");
  await rider.sees(rider.heading("Nobody came"));
  await rider.sees(/No driver was free within reach in all that time\. We looked for .* Nothing was charged\./);
  await rider.picture("nobody-came");
  await rider.accessible("nobody came");
  await rider.page.getByRole("link", { name: "Ask for another ride" }).click();

  // Somebody is there, and does not want to.
  const driver = await arrive({ name: "unwilling", viewport: DESK, dark: true, at: { latitude: 43.7393, longitude: 7.4276 }, expected: [EARLY_OFFER] });
  await driver.open(`/driver#token=${DRIVER}`);
  await driver.page.getByLabel("Number plate").fill("MC 1");
  await driver.page.getByLabel("The car").fill("Red van");
  await driver.button("Go online").click();
  await driver.sees("Waiting for an offer");
  for (const [name, typed] of [
    ["From", "place du casino"],
    ["To", "grimaldi"],
  ]) {
    await rider.page.getByRole("combobox", { name }).fill(typed);
    await rider.page.getByRole("option").first().click();
  }
  await rider.sees(/min away/);
  await rider.button(/^Request Economy/).click();
  await driver.sees(driver.page.locator("[data-test=offer]"));
  await driver.mapDrawn();
  await driver.picture("driver-offer-desk");
  await driver.button("Decline").click();
  await driver.sees("Waiting for an offer");
  await rider.sees(rider.heading("Nobody came"));
  await rider.sees(/The ride was offered to one driver: one driver declined\./);
  await rider.picture("nobody-wanted");
  // The same stands in the rides before.
  await rider.page.getByRole("link", { name: "My rides" }).click();
  await rider.sees(/· nobody came ·/);
  const { trips } = await call("/v1/trips", RIDER);
  assert.deepEqual(trips.map(({ state, paymentState }) => [state, paymentState]), [
    ["TRIP_STATE_EXPIRED", "PAYMENT_STATE_VOIDED"],
    ["TRIP_STATE_EXPIRED", "PAYMENT_STATE_VOIDED"],
  ]);

  // A browser that cannot draw a map is told so, and does all the rest.
  const plain = await arrive({ name: "no-map", viewport: PHONE, more: ["--disable-3d-apis"] });
  await plain.open(`/rider#token=${RIDER}`);
  await plain.sees(/This browser cannot draw the map/);
  await plain.sees("OpenStreetMap");
  await plain.accessible("without a map");
  const from = plain.page.getByRole("combobox", { name: "From" });
  await from.fill("place du casino");
  await plain.page.getByRole("option").first().click();
  await plain.picture("no-map");

  // Another tab takes over the driver's stream; the first one says so.
  const second = await driver.context.newPage();
  driver.watch(second);
  await second.goto(`${API}/driver#token=${DRIVER}`);
  await driver.sees("You drive elsewhere");
  await driver.picture("driver-elsewhere");
  await driver.button("Drive from here").click();
  await driver.sees("Waiting for an offer");
  await second.getByText("You drive elsewhere").waitFor();
  await driver.button("Go offline").click();
  await driver.sees("You are offline");

  // Signing out forgets everything.
  await rider.button("Sign out").click();
  await rider.sees("Your phone number");
  await rider.page.reload();
  await rider.sees("Your phone number");
});
