// A whole ride with a rider's page and a driver's page at once: from the login to the receipt, the tip and
// the earnings, and somebody at home who looks on.

import assert from "node:assert/strict";

import { DESK, EARLY_OFFER, PHONE, eventually, run } from "./browser.mjs";

const CASINO = { latitude: 43.7393, longitude: 7.4276 };
const NEARBY = { latitude: 43.7362, longitude: 7.4235 };

await run(async (arrive) => {
  const rider = await arrive({ name: "rider", viewport: PHONE, at: CASINO, expected: [] });
  const driver = await arrive({ name: "driver", viewport: PHONE, dark: true, at: NEARBY, expected: [/403/, EARLY_OFFER] });

  // The driver goes online by the station.
  await driver.open("/driver");
  await driver.accessible("the driver's door");
  await driver.signIn("+377 93 15 00 07");
  await driver.page.getByLabel("Number plate").fill("MC 7714");
  await driver.page.getByLabel("The car").fill("Blue estate");
  // Where the device says, and from there on as it is told by hand.
  await driver.page.locator(".car").waitFor();
  await driver.page.getByLabel("Tap the map, to try it out").check();
  await driver.mapDrawn();
  await driver.accessible("the driver offline");
  await driver.button("Go online").click();
  await driver.sees("Waiting for an offer");
  await driver.mapDrawn();
  await driver.picture("driver-online");

  // The rider: from here, to a street found by its name.
  await rider.open("/rider");
  await rider.picture("sign-in");
  await rider.accessible("the rider's door");
  await rider.signIn("+377 93 15 00 00");
  await rider.button("From here").click();
  const to = rider.page.getByRole("combobox", { name: "To" });
  await eventually("the pick-up has a name", async () => (await rider.page.getByRole("combobox", { name: "From" }).inputValue()).length > 3);
  await to.pressSequentially("boulevard albert");
  await rider.page.getByRole("option").first().waitFor();
  await rider.mapDrawn();
  await rider.picture("rider-search");
  await to.press("ArrowDown");
  await to.press("ArrowUp");
  await to.press("Enter");
  await rider.sees(rider.page.getByRole("button", { name: /^Request / }));
  await rider.mapDrawn();
  await rider.picture("rider-prices");
  await rider.accessible("the prices");
  const products = await rider.page.getByRole("radio", { name: /€/ }).count();
  assert(products >= 3, `all products are shown, not ${products}`);
  await rider.button(/^Request Economy · €/).click();

  // The offer, with a countdown and the way.
  await driver.sees(driver.page.locator("[data-test=offer]"));
  await driver.mapDrawn();
  await driver.picture("driver-offer");
  await driver.accessible("the offer");
  const accept = driver.button(/^Accept/);
  assert(await accept.evaluate((button) => button === document.activeElement), "the offer has the focus");
  await accept.press("Enter");

  // The rider sees who comes, and from where.
  await rider.standing("ASSIGNED");
  await rider.sees("MC 7714");
  await rider.sees(rider.page.locator(".car"));
  const streets = driver.page.locator("[data-test=streets]");
  await streets.locator("summary").click();
  await driver.sees(streets.getByText(/\d (k?m)$/).first());
  await driver.button("Let the car drive there by itself").click();
  await rider.sees(/Your driver is \d+ min away/);
  const place = () => rider.page.locator(".car").evaluate((car) => car.style.transform);
  const before = await place();
  await eventually("the car moves on the rider's map", async () => (await place()) !== before);
  await rider.mapDrawn();
  await rider.picture("rider-car-comes");
  await rider.accessible("the car comes");
  await driver.mapDrawn();
  await driver.picture("driver-to-pickup");
  await driver.accessible("to the pick-up");

  // What calling off would cost, without doing it.
  await rider.button("Call the ride off").click();
  await rider.sees("It costs nothing:");
  await rider.accessible("calling off");
  await rider.picture("rider-call-off");
  await rider.button("Keep the ride").click();

  // Somebody at home, without an account.
  await rider.button("Share where I am").click();
  const link = await rider.page.locator("[data-test=share-link]").inputValue();
  const home = await arrive({ name: "home", viewport: DESK });
  await home.open(link);
  await home.sees(/At the pick-up in \d+ min/);
  await home.sees(home.page.locator(".car"));
  await home.mapDrawn();
  await home.picture("share");
  await home.accessible("the shared ride");

  // The kerb, a wrong PIN, the right one.
  await driver.sees(driver.heading(/^You are at /));
  await driver.button("I am at the pick-up").click();
  await rider.standing("DRIVER_ARRIVED");
  await rider.sees("Your driver is here");
  await rider.picture("rider-driver-here");
  const pin = (await rider.page.locator("[data-test=pin]").innerText()).trim();
  await driver.page.getByLabel("The rider's PIN").fill(pin === "0000" ? "1111" : "0000");
  await driver.button("Begin the ride").click();
  await driver.sees(/not the rider's PIN/);
  await driver.picture("driver-wrong-pin");
  await driver.accessible("a wrong PIN");
  await driver.page.getByLabel("The rider's PIN").fill(pin);
  await driver.button("Begin the ride").click();

  await rider.standing("IN_PROGRESS");
  await driver.button("Let the car drive there by itself").click();
  await home.sees(/There in \d+ min/);
  await rider.sees(/You are there in \d+ min/);
  await rider.picture("rider-on-the-way");
  await driver.sees(driver.heading(/^You are at /));
  await driver.button("We have arrived").click();

  // What it cost, and where it went.
  await rider.standing("COMPLETED");
  await home.sees("Arrived");
  await rider.sees("What you paid for");
  await rider.sees("Taken from your card");
  const total = await rider.page.locator("[data-test=total]").innerText();
  await rider.accessible("the receipt");
  await rider.wholePicture("rider-receipt");
  await rider.page.getByLabel("€2.00").check({ force: true });
  await rider.button("Give €2.00").click();
  await rider.sees("Thank you: €2.00 go to the driver.");
  await eventually("the tip is on the receipt", async () => (await rider.page.locator("[data-test=total]").innerText()) !== total);
  await rider.page.getByLabel("5 stars").check({ force: true });
  await rider.button("Send").click();
  await rider.sees("Thank you, that was noted.");
  await rider.wholePicture("rider-tip");

  await driver.sees("For you");
  await driver.picture("driver-done");
  await driver.accessible("what it brought");
  await driver.page.getByRole("link", { name: "Earnings" }).click();
  await driver.sees("Owed to you now");
  await driver.sees("Your share of a fare");
  await driver.sees("Tip");
  await driver.wholePicture("driver-earnings");
  await driver.accessible("the earnings");

  // The rides before, after the page was loaded again.
  await rider.page.getByRole("link", { name: "My rides" }).click();
  await rider.sees(/· driven ·/);
  await rider.page.reload();
  await rider.sees(/· driven ·/);
  await rider.accessible("the rides before");
  await rider.picture("rider-history");
  await rider.page.locator(".rides a").first().click();
  await rider.sees("You have arrived");
});
