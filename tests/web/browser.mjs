// A real browser on the pages: each person has one of their own, what goes wrong on a page fails the test,
// and pictures are kept.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { chromium } from "playwright-core";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const ARGUMENTS = [
  "--no-sandbox",
  "--headless",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  // The map is drawn by the processor.
  "--use-angle=swiftshader",
  "--enable-unsafe-swiftshader",
];

export const PHONE = { width: 390, height: 844 };
export const DESK = { width: 1280, height: 800 };

/** How long something may take that has to come. Generous: it bounds a failing test, not a passing one. */
export const PATIENCE_MS = 120_000;

/** What a driver's browser may write down: an offer that was there before the ride knew of it. */
export const EARLY_OFFER = /404.*\/v1\/trips\/[0-9a-f-]{36}\)/;

export const { API, LOG, SHOTS, CHROMIUM } = process.env;
assert(API && SHOTS && CHROMIUM, "API, SHOTS and CHROMIUM are given");
mkdirSync(SHOTS, { recursive: true });

const problems = [];

/** Somebody with a browser. */
export class Person {
  /** `expected`: what the browser's console may say, because the test makes it happen. `more`: arguments of
   * the browser. */
  static async arrive({ name, viewport = PHONE, dark = false, at, expected = [], more = [] }) {
    const person = new Person();
    person.name = name;
    person.expected = expected;
    person.dark = dark;
    person.folder = await mkdtemp(path.join(os.tmpdir(), "jitney-web-"));
    person.context = await chromium.launchPersistentContext(person.folder, {
      executablePath: CHROMIUM,
      headless: true,
      chromiumSandbox: false,
      ignoreDefaultArgs: ["--enable-automation"],
      args: [...ARGUMENTS, ...more],
      viewport,
      deviceScaleFactor: viewport === PHONE ? 2 : 1,
      hasTouch: viewport === PHONE,
      colorScheme: dark ? "dark" : "light",
      reducedMotion: "no-preference",
      locale: "en-GB",
      timezoneId: "Europe/Monaco",
      baseURL: API,
      ...(at && { geolocation: at, permissions: ["geolocation"] }),
    });
    person.context.setDefaultTimeout(PATIENCE_MS);
    person.page = person.context.pages()[0] ?? (await person.context.newPage());
    person.watch(person.page);
    return person;
  }

  watch(page) {
    const note = (what) => {
      // A picture of the map is taken from where it is drawn.
      if (/GPU stall due to ReadPixels/.test(what)) return;
      if (!this.expected.some((pattern) => pattern.test(what))) problems.push(`${this.name}: ${what}`);
    };
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) note(`${message.type()}: ${message.text()} (${message.location().url})`);
    });
    page.on("pageerror", (error) => note(`threw: ${error.stack}`));
    page.on("request", (request) => {
      const url = request.url();
      if (/^https?:/.test(url) && !url.startsWith(API)) note(`asked somebody else: ${url}`);
    });
  }

  async open(address) {
    await this.page.goto(address);
  }

  async leave() {
    await this.context.close();
    await rm(this.folder, { recursive: true, force: true });
  }

  button(name) {
    return this.page.getByRole("button", { name });
  }

  heading(name) {
    return this.page.getByRole("heading", { name });
  }

  /** Waits until something is shown. */
  async sees(what) {
    const found = typeof what === "string" || what instanceof RegExp ? this.page.getByText(what).first() : what;
    await found.waitFor({ state: "visible" });
    return found;
  }

  /** Waits until the ride stands there. */
  async standing(state) {
    await this.page.locator(`[data-state="TRIP_STATE_${state}"]`).first().waitFor();
  }

  async picture(name) {
    await this.page.screenshot({ path: path.join(SHOTS, `${name}.png`) });
  }

  /** Everything a page has, its sheet included, in one picture. */
  async wholePicture(name) {
    const { width, height } = this.page.viewportSize();
    const tall = await this.page.evaluate(() => {
      const sheet = document.querySelector(".sheet");
      return sheet ? Math.ceil(sheet.scrollHeight * 1.6) : document.documentElement.scrollHeight;
    });
    await this.page.setViewportSize({ width, height: Math.max(height, tall) });
    await this.picture(name);
    await this.page.setViewportSize({ width, height });
  }

  /** What axe finds of violations of WCAG 2.2 A and AA, and of its good practice, in the light and in the dark. */
  async accessible(where) {
    const own = this.dark ? "dark" : "light";
    for (const colorScheme of own === "dark" ? ["light", "dark"] : ["dark", "light"]) {
      await this.page.emulateMedia({ colorScheme });
      // Colours are not measured while they change.
      await this.page.evaluate(() => Promise.allSettled(document.getAnimations().filter((one) => one.effect?.getTiming().iterations !== Infinity).map((one) => one.finished)));
      await this.page.evaluate(AXE);
      const violations = await this.page.evaluate(async () => {
        const { violations } = await window.axe.run(document, { resultTypes: ["violations"] });
        return violations.map(({ id, impact, help, nodes }) => ({ id, impact, help, nodes: nodes.map(({ html, failureSummary }) => `${html}\n      ${failureSummary}`) }));
      });
      for (const { id, impact, help, nodes } of violations) {
        const told = `${where} (${colorScheme}): ${impact} ${id}: ${help}\n    ${nodes.slice(0, 4).join("\n    ")}`;
        if (impact === "minor") console.error(told);
        else problems.push(told);
      }
    }
  }

  /** The code of the login that was just begun: the program writes it to its log instead of sending it. */
  async codeFromLog(loginId) {
    for (let tries = 0; tries < 400; tries += 1) {
      for (const line of (await readFile(LOG, "utf8")).split("\n")) {
        if (line.includes(loginId) && line.endsWith("}")) {
          const { code } = JSON.parse(line);
          if (typeof code === "string") return code;
        }
      }
      await sleep(50);
    }
    throw new Error("no code was written to the log");
  }

  /** Signs in as people do: a number, and the code. */
  async signIn(phone) {
    const { page } = this;
    await page.getByLabel("Your phone number").fill(phone);
    const started = page.waitForResponse((answer) => answer.url().endsWith("/v1/login:start"));
    await this.button("Send me a code").click();
    const { loginId } = await (await started).json();
    await page.getByLabel("The code of six digits").fill(await this.codeFromLog(loginId));
    await this.button("Sign in").click();
  }

  /** Waits until the map has nothing left to draw. */
  async mapDrawn() {
    await this.page.locator(".maplibregl-canvas").waitFor();
    await this.page.locator(".map[data-drawn='true']").waitFor();
  }
}

/** Waits until `condition` gives something. */
export async function eventually(what, condition, patienceMs = PATIENCE_MS) {
  const end = Date.now() + patienceMs;
  for (;;) {
    const found = await condition();
    if (found) return found;
    assert(Date.now() < end, `never happened: ${what}`);
    await sleep(50);
  }
}

/** Runs a test; whatever a page complained of fails it. */
export async function run(test) {
  const people = [];
  const arrive = async (who) => {
    const person = await Person.arrive(who);
    people.push(person);
    return person;
  };
  try {
    await test(arrive);
  } catch (error) {
    for (const person of people) await person.picture(`failed-${person.name}`).catch(() => {});
    console.error(error);
    process.exitCode = 1;
  }
  for (const person of people) await person.leave().catch(() => {});
  if (problems.length) {
    console.error(`\nThe pages complained:\n\n${problems.join("\n\n")}`);
    process.exitCode = 1;
  }
}
