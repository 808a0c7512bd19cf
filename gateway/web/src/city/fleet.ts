// The fleet as the stream tells it: who is where and does what, in flat arrays. What is drawn between two
// messages is where a driver would be on the straight way between them.

import type { Api } from "../lib/api";
import { follow } from "../lib/events";
import type { BoundingBox } from "../lib/types";

interface CompactFleet {
  newHandles: number[];
  newDriverIds: string[];
  handles: number[];
  latitudeSteps: number[];
  longitudeSteps: number[];
  states: string;
  goneHandles: number[];
}

interface FleetMessage {
  snapshot: boolean;
  compact?: CompactFleet;
}

/** How often the server tells what has changed. */
const TOLD_EVERY_MS = 1_000;
/** Whoever moved further than this between two messages was not seen on the way: shares of the world's width. */
const GLIDE_MAX = 3e-5;
const E5 = 1e5;

const mercatorX = (longitude: number) => (longitude + 180) / 360;
const mercatorY = (latitude: number) => (1 - Math.asinh(Math.tan((latitude * Math.PI) / 180)) / Math.PI) / 2;

export class Fleet {
  /** By handle; a handle that is not used has state 0. */
  state = new Uint8Array(4096);
  private latitude = new Int32Array(4096);
  private longitude = new Int32Array(4096);
  private from = new Float64Array(8192);
  private to = new Float64Array(8192);
  private began = new Float64Array(4096);
  private ids: (string | undefined)[] = [];
  private readonly handles = new Map<string, number>();
  /** One above the largest handle. */
  size = 0;
  /** Counts the messages, so that others know when to look again. */
  version = 0;

  /** How many drivers are in each state. */
  counts(): Map<number, number> {
    const counts = new Map<number, number>();
    for (let handle = 0; handle < this.size; handle += 1) {
      const state = this.state[handle] ?? 0;
      if (state) counts.set(state, (counts.get(state) ?? 0) + 1);
    }
    return counts;
  }

  get drivers(): number {
    return this.handles.size;
  }

  id(handle: number): string | undefined {
    return this.ids[handle];
  }

  handle(id: string): number | undefined {
    return this.handles.get(id);
  }

  /** Drivers whose ids hold a text, at most so many. */
  find(text: string, limit: number): string[] {
    const wanted = text.toLowerCase();
    const found: string[] = [];
    for (const id of this.handles.keys()) {
      if (id.toLowerCase().includes(wanted)) found.push(id);
      if (found.length === limit) break;
    }
    return found;
  }

  /** Where a driver was last heard to be. */
  place(handle: number): { latitude: number; longitude: number } {
    return { latitude: (this.latitude[handle] ?? 0) / E5, longitude: (this.longitude[handle] ?? 0) / E5 };
  }

  /** The corners of where nearly all of them are. */
  corners(): { latitude: number; longitude: number }[] {
    const all = [...this.handles.values()].map((handle) => this.place(handle));
    const between = (values: number[]) => {
      values.sort((a, b) => a - b);
      const at = (share: number) => values[Math.round((values.length - 1) * share)] ?? 0;
      return [at(0.04), at(0.96)] as const;
    };
    if (all.length < 4) return [];
    const [south, north] = between(all.map(({ latitude }) => latitude));
    const [west, east] = between(all.map(({ longitude }) => longitude));
    return [
      { latitude: south, longitude: west },
      { latitude: north, longitude: east },
    ];
  }

  /** Where a driver is drawn: shares of the world's width from its north-west corner, into `at`. */
  drawnAt(handle: number, now: number, at: [number, number]): void {
    const share = Math.min(1, Math.max(0, (now - (this.began[handle] ?? 0)) / (TOLD_EVERY_MS * 1.15)));
    const x = this.from[handle * 2] ?? 0;
    const y = this.from[handle * 2 + 1] ?? 0;
    at[0] = x + ((this.to[handle * 2] ?? 0) - x) * share;
    at[1] = y + ((this.to[handle * 2 + 1] ?? 0) - y) * share;
  }

  take(message: FleetMessage, now: number): void {
    const { compact } = message;
    if (!compact) return;
    if (message.snapshot) this.clear();
    compact.newHandles.forEach((handle, number) => {
      this.make(handle);
      const id = compact.newDriverIds[number] ?? "";
      this.ids[handle] = id;
      this.handles.set(id, handle);
      this.latitude[handle] = 0;
      this.longitude[handle] = 0;
      this.state[handle] = 0;
    });
    const at: [number, number] = [0, 0];
    compact.handles.forEach((handle, number) => {
      this.latitude[handle]! += compact.latitudeSteps[number] ?? 0;
      this.longitude[handle]! += compact.longitudeSteps[number] ?? 0;
      const { latitude, longitude } = this.place(handle);
      const [x, y] = [mercatorX(longitude), mercatorY(latitude)];
      const isNew = this.state[handle] === 0;
      this.drawnAt(handle, now, at);
      const glides = !isNew && Math.hypot(x - at[0], y - at[1]) < GLIDE_MAX;
      this.from[handle * 2] = glides ? at[0] : x;
      this.from[handle * 2 + 1] = glides ? at[1] : y;
      this.to[handle * 2] = x;
      this.to[handle * 2 + 1] = y;
      this.began[handle] = now;
      this.state[handle] = compact.states.charCodeAt(number) - 48;
    });
    for (const handle of compact.goneHandles) {
      this.handles.delete(this.ids[handle] ?? "");
      this.ids[handle] = undefined;
      this.state[handle] = 0;
    }
    this.version += 1;
  }

  private clear(): void {
    this.state.fill(0);
    this.handles.clear();
    this.ids = [];
    this.size = 0;
  }

  private make(handle: number): void {
    this.size = Math.max(this.size, handle + 1);
    if (handle < this.state.length) return;
    const room = Math.max(handle + 1, this.state.length * 2);
    const grown = <A extends Uint8Array | Int32Array | Float64Array>(into: A, from: A): A => {
      into.set(from);
      return into;
    };
    this.state = grown(new Uint8Array(room), this.state);
    this.latitude = grown(new Int32Array(room), this.latitude);
    this.longitude = grown(new Int32Array(room), this.longitude);
    this.from = grown(new Float64Array(room * 2), this.from);
    this.to = grown(new Float64Array(room * 2), this.to);
    this.began = grown(new Float64Array(room), this.began);
  }
}

/** Follows the drivers of an area until `signal` says stop. */
export function watchFleet(api: Api, fleet: Fleet, area: BoundingBox, told: (live: boolean) => void, signal: AbortSignal): Promise<void> {
  const query = new URLSearchParams({
    compact: "true",
    intervalMs: String(TOLD_EVERY_MS),
    "area.southWest.latitude": String(area.southWest.latitude),
    "area.southWest.longitude": String(area.southWest.longitude),
    "area.northEast.latitude": String(area.northEast.latitude),
    "area.northEast.longitude": String(area.northEast.longitude),
  });
  const message = (message: FleetMessage) => {
    fleet.take(message, performance.now());
    told(true);
  };
  return follow<FleetMessage>(api, `/v1/fleet:watch?${query}`, { message, live: told }, signal);
}
