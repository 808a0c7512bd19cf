// The program is killed in the middle of a ride: both pages say that the connection broke, and take the
// ride up again by themselves when the program is back. Whoever runs this reads "kill" and "start".

import { EARLY_OFFER, PHONE, run } from "./browser.mjs";

const { RIDER, DRIVER } = process.env;

// A browser writes down what it could not reach.
const expected = [EARLY_OFFER, /ERR_CONNECTION|ERR_INCOMPLETE|ERR_EMPTY|WebSocket|50[234]/];

await run(async (arrive) => {
  const driver = await arrive({ name: "killed-driver", viewport: PHONE, at: { latitude: 43.7393, longitude: 7.4276 }, expected });
  const rider = await arrive({ name: "killed-rider", viewport: PHONE, expected });
  await driver.open(`/driver#token=${DRIVER}`);
  await driver.page.getByLabel("Number plate").fill("MC 1");
  await driver.page.getByLabel("The car").fill("Red van");
  await driver.button("Go online").click();
  await driver.sees("Waiting for an offer");
  await rider.open(`/rider#token=${RIDER}`);
  for (const [name, typed] of [
    ["From", "place du casino"],
    ["To", "grimaldi"],
  ]) {
    await rider.page.getByRole("combobox", { name }).fill(typed);
    await rider.page.getByRole("option").first().click();
  }
  await rider.button(/^Request Economy/).click();
  await driver.button(/^Accept/).click();
  await rider.standing("ASSIGNED");

  console.log("kill");
  const broke = rider.page.getByText(/The connection broke/);
  await broke.waitFor();
  await driver.sees(/connecting again/);
  await rider.picture("killed");
  console.log("start");
  await broke.waitFor({ state: "detached" });
  await driver.page.getByText(/connecting again/).first().waitFor({ state: "detached" });

  await driver.button("I am at the pick-up").click();
  await rider.standing("DRIVER_ARRIVED");
  const pin = (await rider.page.locator("[data-test=pin]").innerText()).trim();
  await driver.page.getByLabel("The rider's PIN").fill(pin);
  await driver.button("Begin the ride").click();
  await rider.standing("IN_PROGRESS");
  await driver.button("We have arrived").click();
  await rider.sees("What you paid for");
});
