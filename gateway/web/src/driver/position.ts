// Where the car is: as the device says, or, to try things out, where one taps, from where it drives along
// the roads by itself.

import type { Api } from "../lib/api";
import type { Point, Route } from "../lib/types";

export interface At {
  location: Point;
  heading?: number;
  speed?: number;
}

/** Times as fast as the roads allow: nobody wants to watch a car for a quarter of an hour. */
const SIMULATED_SPEED = 4;
/** Metres a second. Above 60 the city believes no car. */
const SPEED_MAX = 40;
const STEP_MS = 1_000;

const EARTH_M = 6_371_000;
const radians = (degrees: number) => (degrees * Math.PI) / 180;

/** Metres between two points that are near each other. */
export function metres(a: Point, b: Point): number {
  const north = radians(b.latitude - a.latitude);
  const east = radians(b.longitude - a.longitude) * Math.cos(radians((a.latitude + b.latitude) / 2));
  return Math.hypot(north, east) * EARTH_M;
}

/** Follows the device. Gives a function that stops it. */
export function followDevice(moved: (at: At) => void, failed: (told: string) => void): () => void {
  if (!navigator.geolocation) {
    failed("This device does not tell where it is.");
    return () => {};
  }
  const watch = navigator.geolocation.watchPosition(
    ({ coords }) => {
      const { latitude, longitude, heading, speed } = coords;
      moved({
        location: { latitude, longitude },
        ...(heading !== null && !Number.isNaN(heading) && { heading }),
        ...(speed !== null && { speed }),
      });
    },
    () => failed("This device did not tell where it is. Allow it, or choose the map below."),
    { enableHighAccuracy: true, maximumAge: 5_000 },
  );
  return () => navigator.geolocation.clearWatch(watch);
}

/** A car that drives along a route by itself. */
export class Drive {
  private readonly timer: ReturnType<typeof setInterval>;
  private done = 0;
  private last = performance.now();
  private readonly speed: number;

  constructor(
    private readonly line: Point[],
    durationMs: number,
    lengthM: number,
    private readonly moved: (at: At) => void,
    private readonly there: () => void,
  ) {
    const allowed = durationMs > 0 ? (lengthM / durationMs) * 1000 : 10;
    this.speed = Math.min(SPEED_MAX, Math.max(3, allowed * SIMULATED_SPEED));
    this.timer = setInterval(() => this.step(), STEP_MS);
  }

  stop(): void {
    clearInterval(this.timer);
  }

  private step(): void {
    const now = performance.now();
    this.done += (this.speed * Math.min(4 * STEP_MS, now - this.last)) / 1000;
    this.last = now;
    let rest = this.done;
    for (let n = 1; n < this.line.length; n += 1) {
      const [from, to] = [this.line[n - 1], this.line[n]];
      if (!from || !to) break;
      const long = metres(from, to);
      if (rest < long) {
        const share = rest / long;
        const location = {
          latitude: from.latitude + (to.latitude - from.latitude) * share,
          longitude: from.longitude + (to.longitude - from.longitude) * share,
        };
        this.moved({ location, heading: heading(from, to), speed: this.speed / SIMULATED_SPEED });
        return;
      }
      rest -= long;
    }
    const end = this.line.at(-1);
    if (end) this.moved({ location: end, speed: 0 });
    this.stop();
    this.there();
  }
}

function heading(from: Point, to: Point): number {
  const north = to.latitude - from.latitude;
  const east = (to.longitude - from.longitude) * Math.cos(radians(from.latitude));
  return ((Math.atan2(east, north) * 180) / Math.PI + 360) % 360;
}

export async function routeOf(api: Api, points: Point[]): Promise<Route | undefined> {
  const { route } = await api.post<{ route?: Route }>("/v1/routes:compute", { points });
  return route;
}
