// Looks at the city's page for `jitney bench city`, and prints what it saw as JSON: how long it took until
// the drivers were on the map, frames a second from then on, and what the page was sent. API, TOKEN and
// SECONDS come from the bench.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { chromium } from "playwright-core";

const { API, TOKEN, SECONDS = "10", SHOT } = process.env;
assert(API && TOKEN, "API and TOKEN are given");
const CHROMIUM = process.env.CHROMIUM ?? ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
assert(CHROMIUM, "Chromium is not installed; CHROMIUM says where it is");

const folder = await mkdtemp(path.join(os.tmpdir(), "jitney-city-"));
const context = await chromium.launchPersistentContext(folder, {
  executablePath: CHROMIUM,
  headless: true,
  viewport: { width: 1440, height: 900 },
  args: [
    "--no-sandbox",
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
  ],
});
try {
  const page = context.pages()[0] ?? (await context.newPage());
  const client = await context.newCDPSession(page);
  await client.send("Network.enable");
  let bytes = 0;
  client.on("Network.dataReceived", ({ encodedDataLength, dataLength }) => (bytes += encodedDataLength || dataLength));
  await page.goto(`${API}/city#token=${TOKEN}`);
  // The mark is set in the frame in which the first message about the fleet is drawn.
  await page.waitForFunction(() => performance.getEntriesByName("city-drawn").length > 0, undefined, { timeout: 90_000 });
  const firstPaintMs = await page.evaluate(() => performance.getEntriesByName("city-drawn")[0].startTime);
  // What is loaded once is not what a viewer goes on being sent.
  await sleep(3_000);
  const begin = performance.now();
  const before = bytes;
  const frames = [];
  for (let second = 0; second < Number(SECONDS); second += 1) {
    const [count, ms] = await page.evaluate(async () => {
      const pace = window.jitneyPace;
      const [frames, begin] = [pace.frames, performance.now()];
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      return [pace.frames - frames, performance.now() - begin];
    });
    frames.push((count / ms) * 1000);
  }
  const seconds = (performance.now() - begin) / 1000;
  const drivers = await page.locator("[data-test=drivers]").textContent();
  if (SHOT) await page.screenshot({ path: SHOT });
  console.log(
    JSON.stringify({
      first_paint_ms: firstPaintMs,
      frames_per_s: frames.reduce((sum, count) => sum + count, 0) / frames.length,
      frames_per_s_min: Math.min(...frames),
      kib_per_s: (bytes - before) / 1024 / seconds,
      drivers: Number(drivers.replace(/\D/g, "")),
    }),
  );
} finally {
  await context.close();
  await rm(folder, { recursive: true, force: true });
}
