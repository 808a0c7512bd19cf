// The map that all pages share: roads from the gateway's own tiles, places, a route and cars upon it.

import { GeoJSONSource, Map as GlMap, Marker, NavigationControl, setWorkerUrl } from "maplibre-gl";
import workerUrl from "maplibre-gl/dist/maplibre-gl-worker.mjs?url";

import { mapStyle, ROUTE, TRAIL } from "./map-style";
import type { BoundingBox, Point } from "./types";

setWorkerUrl(new URL(workerUrl, location.href).href);

/** The deepest zoom that tiles are made for; they are drawn larger beyond it. */
const TILE_ZOOM_MAX = 16;
/** A car that is heard of again after longer than this is where it says; before, it drives there. */
const GLIDE_MS_MAX = 4_000;
/** A car further off than this was somewhere else in truth. */
const GLIDE_DEGREES_MAX = 0.02;

export type PlaceKind = "pickup" | "dropoff" | "stop" | "me";

interface Car {
  marker: Marker;
  body: HTMLElement;
  at: Point;
  heardAt: number;
  frame?: number;
}

const dark = matchMedia("(prefers-color-scheme: dark)");
const still = matchMedia("(prefers-reduced-motion: reduce)");
const lngLat = (point: Point): [number, number] => [point.longitude, point.latitude];

export interface MapOptions {
  area: BoundingBox;
  attribution: string;
  /** Told when somebody taps the map. */
  tapped?: (point: Point) => void;
}

export class CityMap {
  readonly map: GlMap;
  private readonly cars = new Map<string, Car>();
  private readonly places = new Map<string, Marker>();
  private readonly lines: Record<string, Point[]> = {};
  private readonly retheme: () => void;
  private room = { top: 70, bottom: 70, left: 50, right: 70 };

  constructor(container: HTMLElement, options: MapOptions) {
    const { area, attribution } = options;
    const style = () => mapStyle(dark.matches, `${location.origin}/tiles/{z}/{x}/{y}.mvt`, attribution, TILE_ZOOM_MAX);
    const [west, south, east, north] = [
      area.southWest.longitude,
      area.southWest.latitude,
      area.northEast.longitude,
      area.northEast.latitude,
    ];
    const [wide, high] = [(east - west) / 2, (north - south) / 2];
    this.map = new GlMap({
      container,
      style: style(),
      bounds: [west, south, east, north],
      maxBounds: [west - wide, south - high, east + wide, north + high],
      maxZoom: 19,
      attributionControl: { compact: false },
      dragRotate: false,
      pitchWithRotate: false,
      touchPitch: false,
      fadeDuration: still.matches ? 0 : 200,
    });
    this.map.touchZoomRotate.disableRotation();
    this.map.keyboard.disableRotation();
    this.map.addControl(new NavigationControl({ showCompass: false }), "top-right");
    this.map.getCanvas().setAttribute("aria-label", "Map of the city. Arrow keys move it, plus and minus zoom.");
    this.map.on("style.load", () => {
      for (const [id, line] of Object.entries(this.lines)) this.draw(id, line);
    });
    // A tile that did not come: the browser has written down why, and the map shows the coarser one.
    this.map.on("error", ({ error }) => {
      if (!("status" in error) && !(error instanceof TypeError)) console.error(error);
    });
    // Whether there is nothing left to draw, for whoever takes a picture.
    const drawn = (is: boolean) => () => void (container.dataset["drawn"] = String(is));
    this.map.on("idle", drawn(true));
    this.map.on("movestart", drawn(false));
    this.map.on("dataloading", drawn(false));
    if (options.tapped) {
      const { tapped } = options;
      this.map.on("click", ({ lngLat: { lat, lng } }) => tapped({ latitude: lat, longitude: lng }));
    }
    this.retheme = () => this.map.setStyle(style());
    dark.addEventListener("change", this.retheme);
  }

  destroy(): void {
    dark.removeEventListener("change", this.retheme);
    for (const car of this.cars.values()) if (car.frame) cancelAnimationFrame(car.frame);
    this.map.remove();
  }

  /** How much of the map is covered, pixels from each edge: what is looked at goes between. */
  keepClear(room: Partial<typeof this.room>): void {
    this.room = { ...this.room, ...room };
  }

  /** The middle of what is seen. */
  centre(): Point {
    const { left, right, top, bottom } = this.room;
    const { clientWidth, clientHeight } = this.map.getContainer();
    const at = this.map.unproject([(left + clientWidth - right) / 2, (top + clientHeight - bottom) / 2]);
    return { latitude: at.lat, longitude: at.lng };
  }

  /** Shows all these points. */
  fit(points: Point[], maxZoom = 17): void {
    const [first] = points;
    if (!first) return;
    const lats = points.map(({ latitude }) => latitude);
    const lngs = points.map(({ longitude }) => longitude);
    const bounds: [number, number, number, number] = [Math.min(...lngs), Math.min(...lats), Math.max(...lngs), Math.max(...lats)];
    this.map.fitBounds(bounds, { padding: this.padding(), maxZoom, duration: still.matches ? 0 : 600 });
  }

  /** A container that is small for a moment must not make the padding larger than itself. */
  private padding() {
    const { clientWidth, clientHeight } = this.map.getContainer();
    const { left, right, top, bottom } = this.room;
    const across = Math.min(1, (clientWidth * 0.8) / Math.max(1, left + right));
    const down = Math.min(1, (clientHeight * 0.8) / Math.max(1, top + bottom));
    return { left: left * across, right: right * across, top: top * down, bottom: bottom * down };
  }

  /** Shows a place, moves it, or takes it away. `sign` is what stands in it, of a character or two. */
  place(id: string, at: Point | undefined, kind: PlaceKind, label: string, sign = ""): void {
    let marker = this.places.get(id);
    if (!at) {
      marker?.remove();
      this.places.delete(id);
      return;
    }
    if (!marker) {
      const element = document.createElement("div");
      element.className = `place place-${kind}`;
      element.append(document.createElement("span"));
      marker = new Marker({ element, anchor: kind === "dropoff" || kind === "pickup" ? "bottom" : "center" });
      marker.setLngLat(lngLat(at)).addTo(this.map);
      this.places.set(id, marker);
    }
    marker.setLngLat(lngLat(at));
    const element = marker.getElement();
    for (const other of ["pickup", "dropoff", "stop", "me"]) element.classList.toggle(`place-${other}`, other === kind);
    element.setAttribute("role", "img");
    element.setAttribute("aria-label", label);
    element.title = label;
    element.dataset["sign"] = sign;
  }

  /** Draws the way of a ride; `trail` is the way to the pick-up. */
  route(line: Point[] | undefined, kind: "route" | "trail" = "route"): void {
    const id = kind === "route" ? ROUTE : TRAIL;
    this.lines[id] = line ?? [];
    if (this.map.isStyleLoaded() || this.map.getSource(id)) this.draw(id, this.lines[id]);
  }

  private draw(id: string, line: Point[]): void {
    const source = this.map.getSource(id);
    if (!(source instanceof GeoJSONSource)) return;
    source.setData({ type: "Feature", properties: {}, geometry: { type: "LineString", coordinates: line.map(lngLat) } });
  }

  /** Shows a car; it drives from where it was to where it is. */
  car(id: string, at: Point | undefined, heading?: number, label = "The car"): void {
    let car = this.cars.get(id);
    if (!at) {
      if (car?.frame) cancelAnimationFrame(car.frame);
      car?.marker.remove();
      this.cars.delete(id);
      return;
    }
    const now = performance.now();
    if (!car) {
      const element = document.createElement("div");
      element.className = "car";
      element.setAttribute("role", "img");
      const body = document.createElement("span");
      element.append(body);
      const marker = new Marker({ element }).setLngLat(lngLat(at)).addTo(this.map);
      car = { marker, body, at, heardAt: now };
      this.cars.set(id, car);
    }
    car.marker.getElement().setAttribute("aria-label", label);
    const towards = heading ?? bearing(car.at, at);
    if (towards !== undefined) car.body.style.transform = `rotate(${towards}deg)`;
    this.glide(car, at, Math.min(GLIDE_MS_MAX, now - car.heardAt));
    car.heardAt = now;
  }

  private glide(car: Car, to: Point, ms: number): void {
    if (car.frame) cancelAnimationFrame(car.frame);
    delete car.frame;
    const from = car.at;
    const far = Math.hypot(to.latitude - from.latitude, to.longitude - from.longitude) > GLIDE_DEGREES_MAX;
    if (still.matches || far || ms < 50) {
      car.at = to;
      car.marker.setLngLat(lngLat(to));
      return;
    }
    const begin = performance.now();
    const step = (now: number) => {
      const share = Math.min(1, (now - begin) / ms);
      car.at = {
        latitude: from.latitude + (to.latitude - from.latitude) * share,
        longitude: from.longitude + (to.longitude - from.longitude) * share,
      };
      car.marker.setLngLat(lngLat(car.at));
      if (share < 1) car.frame = requestAnimationFrame(step);
      else delete car.frame;
    };
    car.frame = requestAnimationFrame(step);
  }
}

/** Which way it went, degrees clockwise from north; nothing where it stood. */
function bearing(from: Point, to: Point): number | undefined {
  const north = to.latitude - from.latitude;
  const east = (to.longitude - from.longitude) * Math.cos((from.latitude * Math.PI) / 180);
  return Math.hypot(north, east) < 1e-6 ? undefined : (Math.atan2(east, north) * 180) / Math.PI;
}
