// What a plain ride does not need: a ride for later with a stop on the way, one that is called off before its
// time, and a ride with a promotion code that goes elsewhere in the middle. TOKEN is an operator's.

import assert from "node:assert/strict";

import { API, EARLY_OFFER, PHONE, eventually, run } from "./browser.mjs";

const { TOKEN, RIDER, DRIVER, RELEASE_BEFORE_MS } = process.env;
assert(TOKEN && RIDER && DRIVER && RELEASE_BEFORE_MS, "TOKEN, RIDER, DRIVER and RELEASE_BEFORE_MS are given");

const CASINO = { latitude: 43.7393, longitude: 7.4276 };
/** The field's own form, in the time zone of the browser, to the second; whole minutes have none there. */
const local = (ms) => new Date(ms).toLocaleString("sv-SE", { timeZone: "Europe/Monaco" }).replace(" ", "T").replace(/:00$/, "");
const cents = (text) => Number(/€(\d+\.\d\d)/.exec(text)[1].replace(".", ""));

await run(async (arrive) => {
  const put = await fetch(`${API}/v1/promotions/HALF`, {
    method: "PUT",
    headers: { Authorization: `Bearer ${TOKEN}`, "Content-Type": "application/json" },
    body: JSON.stringify({ percent: 50, ridesPerRider: 1, validFrom: "2020-01-01T00:00:00Z", validTo: "2999-01-01T00:00:00Z" }),
  });
  assert(put.ok, await put.text());

  const driver = await arrive({ name: "extras-driver", viewport: PHONE, dark: true, at: CASINO, expected: [EARLY_OFFER] });
  await driver.open(`/driver#token=${DRIVER}`);
  await driver.page.getByLabel("Number plate").fill("MC 1");
  await driver.page.getByLabel("The car").fill("Red van");
  await driver.button("Go online").click();
  await driver.sees("Waiting for an offer");

  // A browser writes down what was refused: a time that is too soon, a code that is none.
  const rider = await arrive({ name: "extras-rider", viewport: PHONE, expected: [/400/] });
  const { page } = rider;
  const place = async (name, typed) => {
    const field = page.getByRole("combobox", { name, exact: true });
    await field.fill(typed);
    await page.getByRole("option").first().waitFor();
    await field.press("Enter");
    // The street's own name stands there then.
    await eventually(`${name} is taken`, async () => (await field.inputValue()) !== typed);
    return field;
  };
  const plan = async (from, to) => {
    await place("From", from);
    await place("To", to);
    await rider.sees("What the price is made of");
    await page.locator(".options summary").click();
  };
  const another = async (link) => {
    await page.getByRole("link", { name: link }).click();
    // The page tells who listens that another part of it is there; a field that is written in before loses that.
    await page.waitForFunction(() => document.activeElement?.matches(".sheet"));
  };
  await rider.open(`/rider#token=${RIDER}`);
  await plan("place du casino", "grimaldi");

  // Two stops by the keyboard, put the other way round, and one taken away again.
  const plain = cents(await rider.button(/^Request Economy/).innerText());
  await rider.button("Add a stop on the way").press("Enter");
  const first = await place("Stop 1", "boulevard albert");
  assert(await first.evaluate((field) => field === document.activeElement), "the new stop has the focus");
  await rider.button("Add another stop").press("Enter");
  await place("Stop 2", "avenue saint");
  const [one, two] = [await first.inputValue(), await page.getByRole("combobox", { name: "Stop 2" }).inputValue()];
  await rider.button("Stop 2 one earlier").press("Enter");
  await eventually("they have changed places", async () => (await first.inputValue()) === two);
  const button = rider.button("Stop 1 one later");
  assert(await button.evaluate((one) => one === document.activeElement), "what was moved keeps the focus");
  await rider.button("Without stop 1").press("Enter");
  await eventually("one is left", async () => (await first.inputValue()) === one);
  await eventually("the stop has its price", async () => cents(await rider.button(/^Request Economy/).innerText()) > plain);
  await rider.mapDrawn();
  await rider.wholePicture("rider-stop");

  // For later: too soon is said in words, tomorrow is listed and can be called off.
  await page.getByLabel("Later").check();
  await page.getByLabel("Pick-up time").fill(local(Date.now()));
  await rider.sees(/A ride is booked at least .* ahead\. Take a later time, or ride now\./);
  const tomorrow = Date.now() + 86_400_000;
  await page.getByLabel("Pick-up time").fill(local(tomorrow).slice(0, 16));
  await rider.sees("Booked ahead");
  await rider.accessible("the options");
  await rider.wholePicture("rider-options");
  await rider.button(/^Book Economy for .* · €/).click();
  await rider.standing("SCHEDULED");
  await rider.sees(rider.heading(/^Your ride is booked for /));
  await rider.sees("Stop 1");
  await rider.accessible("a booked ride");
  await rider.picture("rider-booked");
  await page.getByRole("link", { name: "My rides" }).click();
  await rider.sees(/· booked ·/);
  await page.getByRole("link", { name: "Ride", exact: true }).click();
  await page.locator("[data-test=booked] a").click();
  // It may go elsewhere before anybody drives it.
  await rider.button("Change where I go").click();
  await place("To", "avenue saint");
  await page.locator("[data-test=new-price]").waitFor();
  await rider.button(/^Go there for €/).click();
  await rider.sees(/The ride costs €\d+\.\d\d now\./);
  assert.equal(await page.getByText("The driver is told").count(), 0, "there is no driver yet");
  await rider.button("Call the ride off").click();
  await rider.sees("It costs nothing:");
  await rider.button("Call it off").click();
  await rider.standing("CANCELLED");
  await another("Ask for another ride");

  // Soon: the page is open when the search begins.
  await plan("place du casino", "grimaldi");
  await rider.button("Add a stop on the way").click();
  await place("Stop 1", "boulevard albert");
  await page.getByLabel("Later").check();
  await page.getByLabel("Pick-up time").fill(local(Date.now() + Number(RELEASE_BEFORE_MS) + 8_000));
  await rider.button(/^Book Economy for/).click();
  await rider.standing("SCHEDULED");
  await driver.sees(driver.page.locator("[data-test=offer]"));
  await driver.sees("By way of");
  await driver.sees(/booked ahead for/);
  await driver.mapDrawn();
  await driver.picture("driver-offer-stop");
  await driver.button(/^Accept/).click();
  await rider.standing("ASSIGNED");
  await rider.sees(/as you booked/);
  await driver.sees(/Booked ahead: the rider expects you at/);
  await driver.sees(driver.page.locator("[data-test=stops]"));
  await driver.accessible("a ride with a stop");
  const board = async () => {
    await driver.button("I am at the pick-up").click();
    await rider.standing("DRIVER_ARRIVED");
    await driver.page.getByLabel("The rider's PIN").fill((await page.locator("[data-test=pin]").innerText()).trim());
    await driver.button("Begin the ride").click();
    await rider.standing("IN_PROGRESS");
  };
  await board();
  await rider.sees(/From there it goes to the destination\./);
  await driver.mapDrawn();
  await driver.picture("driver-stop");
  await driver.button("We are at stop 1").click();
  await rider.sees(/you were there at/);
  await rider.mapDrawn();
  await rider.picture("rider-stop-reached");
  await driver.button("We have arrived").click();
  await rider.sees("What you paid for");
  await rider.sees("Stops on the way");
  await rider.sees(/by way of one stop, booked for/);
  await driver.button("On to the next").click();
  await driver.sees("Waiting for an offer");
  await another("Ride again");

  // A code: one that is none, then one that halves the price.
  await plan("place du casino", "grimaldi");
  await page.getByLabel("Promotion code").fill("nothing");
  await rider.button("Use it").click();
  await rider.sees(/NOTHING: There is no such code, or it is over\./);
  await rider.accessible("a code that is none");
  await page.getByLabel("Promotion code").fill("half");
  await page.getByLabel("Promotion code").press("Enter");
  await rider.sees("Promotion code HALF");
  await rider.sees(/HALF takes €\d+\.\d\d off\./);
  const halved = cents(await rider.button(/^Request Economy/).innerText());
  assert(Math.abs(plain - 2 * halved) <= 1, `${halved} is half of ${plain}`);
  await rider.accessible("a code");
  await rider.wholePicture("rider-code");
  await rider.button(/^Request Economy/).click();
  await rider.sees(/HALF takes €.* off: you pay €/);
  await driver.button(/^Accept/).click();
  await rider.standing("ASSIGNED");
  await board();

  // Elsewhere in the middle: the price first, then the question, then the driver knows.
  await rider.button("Change where I go").click();
  await rider.accessible("where to instead");
  await place("To", "boulevard albert");
  const news = page.locator("[data-test=new-price]");
  await news.waitFor();
  assert.match(await news.innerText(), /for the whole ride, instead of €.*Your promotion is taken off that\./s);
  const dearer = cents(await news.innerText());
  await rider.mapDrawn();
  await rider.picture("rider-elsewhere");
  await rider.button(/^Go there for €/).click();
  await rider.sees(/The driver is told\. The ride costs €/);
  await driver.sees(/The rider goes elsewhere now: to /);
  await driver.mapDrawn();
  await driver.picture("driver-elsewhere-now");
  await driver.accessible("a destination that changed");
  await eventually("the promotion follows", async () => Math.abs(2 * cents(await page.locator("[data-test=facts]").innerText()) - dearer) <= 1);
  // The driver's answer comes late: by then the stream has told that the fare was taken, and the answer has not.
  const moment = () => {
    let comes;
    const promise = new Promise((resolve) => (comes = resolve));
    return { promise, comes };
  };
  const [asked, answered] = [moment(), moment()];
  await driver.page.route(/:complete$/, async (route) => {
    const response = await route.fetch();
    await asked.promise;
    await route.fulfill({ response });
    await driver.page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
    answered.comes();
  });
  await driver.page.route(/\/receipt$/, async (route) => {
    asked.comes();
    await answered.promise;
    await route.continue();
  });
  await driver.button("We have arrived").click();
  await rider.sees("What you paid for");
  const total = cents(await page.locator("[data-test=total]").innerText());
  assert(Math.abs(2 * total - dearer) <= 1, `${total} is half of ${dearer}`);
  assert.match(await page.locator("[data-test=receipt]").innerText(), /Promotion[\s\S]*-€/);
  await rider.wholePicture("rider-promoted-receipt");
  await driver.sees(/the rider's promotion is the city's cost/);
  await rider.accessible("a receipt with a promotion");

  // It was for one ride.
  await another("Ride again");
  await plan("place du casino", "grimaldi");
  await page.getByLabel("Promotion code").fill("HALF");
  await rider.button("Use it").click();
  await rider.sees(/HALF: You have used this code as often as one may\./);
});
