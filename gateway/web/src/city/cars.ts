// Thousands of drivers drawn over the map, on a canvas of their own: the map below is not drawn again when
// they move. There is no pitch and no rotation, so a place is two multiplications away from its pixel.

import type { Map as GlMap } from "maplibre-gl";

import type { Fleet } from "./fleet";
import { DRIVER_STATES } from "./words";

const TILE_PIXELS = 512;
const PIXEL_RATIO_MAX = 2;
/** How near to a car a tap must be, pixels. */
const REACH = 16;

const dark = matchMedia("(prefers-color-scheme: dark)");
const still = matchMedia("(prefers-reduced-motion: reduce)");

/** Frames and times, for `jitney bench city` and whoever looks. */
export interface Pace {
  frames: number;
  begunAt: number;
  /** Milliseconds spent drawing. */
  spentMs: number;
}

export class Cars {
  readonly pace: Pace = { frames: 0, begunAt: performance.now(), spentMs: 0 };
  /** The driver that stands out. */
  chosen: string | undefined;
  private readonly canvas = document.createElement("canvas");
  private readonly context = this.canvas.getContext("2d") as CanvasRenderingContext2D;
  private sprites = new Map<number, HTMLCanvasElement>();
  private frame = 0;
  private isDrawn = false;
  private readonly retheme = () => this.paint();

  constructor(
    private readonly map: GlMap,
    private readonly fleet: Fleet,
    private readonly firstDrawn: () => void,
  ) {
    this.canvas.className = "cars";
    this.canvas.setAttribute("aria-hidden", "true");
    map.getCanvasContainer().append(this.canvas);
    dark.addEventListener("change", this.retheme);
    this.paint();
    const step = () => {
      this.draw();
      this.frame = requestAnimationFrame(step);
    };
    this.frame = requestAnimationFrame(step);
  }

  destroy(): void {
    cancelAnimationFrame(this.frame);
    dark.removeEventListener("change", this.retheme);
    this.canvas.remove();
  }

  /** The driver at a pixel of the map, if there is one. */
  at(x: number, y: number): string | undefined {
    const now = performance.now();
    const view = this.view();
    const place: [number, number] = [0, 0];
    let nearest: [number, number] | undefined;
    for (let handle = 0; handle < this.fleet.size; handle += 1) {
      if (!this.fleet.state[handle]) continue;
      this.fleet.drawnAt(handle, now, place);
      const off = Math.hypot(place[0] * view.scale - view.left - x, place[1] * view.scale - view.top - y);
      if (off < REACH && (!nearest || off < nearest[0])) nearest = [off, handle];
    }
    return nearest && this.fleet.id(nearest[1]);
  }

  private view() {
    const { clientWidth: width, clientHeight: height } = this.map.getContainer();
    const { lng, lat } = this.map.getCenter();
    const scale = TILE_PIXELS * 2 ** this.map.getZoom();
    const x = ((lng + 180) / 360) * scale;
    const y = ((1 - Math.asinh(Math.tan((lat * Math.PI) / 180)) / Math.PI) / 2) * scale;
    return { width, height, scale, left: x - width / 2, top: y - height / 2 };
  }

  /** One picture for each state. */
  private paint(): void {
    const ratio = Math.min(PIXEL_RATIO_MAX, devicePixelRatio);
    this.sprites = new Map(
      Object.entries(DRIVER_STATES).map(([state, { colour }]) => {
        const picture = document.createElement("canvas");
        picture.width = picture.height = Math.ceil(16 * ratio);
        const pen = picture.getContext("2d") as CanvasRenderingContext2D;
        pen.scale(ratio, ratio);
        pen.beginPath();
        pen.arc(8, 8, 5.5, 0, Math.PI * 2);
        pen.fillStyle = colour[dark.matches ? 1 : 0];
        pen.fill();
        pen.lineWidth = 1.75;
        pen.strokeStyle = dark.matches ? "#0d1014" : "#ffffff";
        pen.stroke();
        return [Number(state), picture];
      }),
    );
  }

  private draw(): void {
    const begin = performance.now();
    const view = this.view();
    const ratio = Math.min(PIXEL_RATIO_MAX, devicePixelRatio);
    const [width, height] = [Math.round(view.width * ratio), Math.round(view.height * ratio)];
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    // Without motion a car jumps to where it is told to be.
    const now = still.matches ? Number.MAX_SAFE_INTEGER : begin;
    const { context, fleet } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    // From afar cars are smaller, so that streets can be told apart.
    const size = 16 * ratio * Math.min(1.25, Math.max(0.6, (this.map.getZoom() - 9) / 6));
    const half = size / 2;
    const place: [number, number] = [0, 0];
    for (let handle = 0; handle < fleet.size; handle += 1) {
      const picture = this.sprites.get(fleet.state[handle] ?? 0);
      if (!picture) continue;
      fleet.drawnAt(handle, now, place);
      const x = (place[0] * view.scale - view.left) * ratio;
      const y = (place[1] * view.scale - view.top) * ratio;
      if (x < -half || y < -half || x > width + half || y > height + half) continue;
      context.drawImage(picture, x - half, y - half, size, size);
    }
    this.mark(view, ratio, now);
    if (fleet.version > 0 && !this.isDrawn) {
      this.isDrawn = true;
      this.firstDrawn();
    }
    this.pace.frames += 1;
    this.pace.spentMs += performance.now() - begin;
  }

  private mark(view: ReturnType<Cars["view"]>, ratio: number, now: number): void {
    const handle = this.chosen === undefined ? undefined : this.fleet.handle(this.chosen);
    if (handle === undefined) return;
    const place: [number, number] = [0, 0];
    this.fleet.drawnAt(handle, now, place);
    const { context } = this;
    context.beginPath();
    const [x, y] = [(place[0] * view.scale - view.left) * ratio, (place[1] * view.scale - view.top) * ratio];
    context.arc(x, y, 15 * ratio, 0, Math.PI * 2);
    context.lineWidth = 3.5 * ratio;
    context.strokeStyle = dark.matches ? "#ffffff" : "#111418";
    context.stroke();
  }
}
