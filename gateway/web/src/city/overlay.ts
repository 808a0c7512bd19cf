// What lies on the city's map besides the drivers: traffic on the roads, cells of demand, zones, riders who
// wait and the offers made for them.

import type { Feature, FeatureCollection } from "geojson";
import { GeoJSONSource, type Map as GlMap } from "maplibre-gl";

import type { Point, Trip } from "../lib/types";
import type { Fleet } from "./fleet";
import type { DemandCell, TrafficRoad, Zone } from "./types";

export type LayerName = "traffic" | "demand" | "zones" | "requests";

/** What a zone on the map is for. */
const ZONES = { fare: "zone fee", toll: "toll", queue: "drivers queue" };

const SOURCES = ["demand", "zones", "offers", "requests"] as const;
type Source = (typeof SOURCES)[number];
type Features = FeatureCollection;
const NOTHING: Features = { type: "FeatureCollection", features: [] };
const lngLat = ({ latitude, longitude }: Point): [number, number] => [longitude, latitude];
const features = (list: Feature[]): Features => ({ type: "FeatureCollection", features: list });
/** Roads slower than this share of their free speed stand out. */
const SLOW = [0.45, 0.7, 0.9] as const;

const dark = matchMedia("(prefers-color-scheme: dark)");

export class Overlay {
  private readonly data: Record<Source, Features> = { demand: NOTHING, zones: NOTHING, offers: NOTHING, requests: NOTHING };
  private traffic = new Map<number, number>();
  private shown: Record<LayerName, boolean> = { traffic: true, demand: false, zones: true, requests: true };
  private ready = false;

  constructor(private readonly map: GlMap) {
    // Another style, for the dark, takes away what is not its own.
    const build = () => {
      if (map.getLayer("names") && !map.getLayer("requests")) this.build();
    };
    map.on("styledata", build);
    build();
  }

  show(name: LayerName, on: boolean): void {
    this.shown[name] = on;
    if (this.ready) this.toggle();
  }

  /** How fast roads are driven. Each direction is told; the slower one is shown. */
  roads(roads: TrafficRoad[]): void {
    const next = new Map<number, number>();
    for (const { segment, speedKmh, freeSpeedKmh } of roads) {
      const share = freeSpeedKmh > 0 ? speedKmh / freeSpeedKmh : 1;
      next.set(segment, Math.min(share, next.get(segment) ?? Infinity));
    }
    const before = this.traffic;
    this.traffic = next;
    if (!this.ready) return;
    const feature = (id: number) => ({ source: "city", sourceLayer: "roads", id });
    for (const id of before.keys()) if (!next.has(id)) this.map.removeFeatureState(feature(id), "pace");
    for (const [id, pace] of next) if (before.get(id) !== pace) this.map.setFeatureState(feature(id), { pace });
  }

  demand(cells: DemandCell[]): void {
    const cell = ({ area: { southWest, northEast }, waiting, idleDrivers, surgePercent }: DemandCell): Feature => {
      const [west, south, east, north] = [southWest.longitude, southWest.latitude, northEast.longitude, northEast.latitude];
      const ring = [[west, south], [east, south], [east, north], [west, north], [west, south]];
      const surge = surgePercent > 100 ? `×${(surgePercent / 100).toFixed(2)}` : "";
      const label = [surge, waiting >= 0.5 ? `${Math.round(waiting)} waiting` : ""].filter(Boolean).join("\n");
      return {
        type: "Feature",
        geometry: { type: "Polygon", coordinates: [ring] },
        properties: { waiting, idle: idleDrivers, surge: surgePercent, label },
      };
    };
    this.set("demand", features(cells.map(cell)));
  }

  zones(zones: (Zone & { kind: keyof typeof ZONES })[]): void {
    const circle = ({ zoneId, centre, radiusMeters, kind }: Zone & { kind: keyof typeof ZONES }): Feature => {
      const north = Number(radiusMeters) / 111_195;
      const east = north / Math.cos((centre.latitude * Math.PI) / 180);
      const ring = Array.from({ length: 65 }, (_, step) => {
        const turn = (step / 64) * Math.PI * 2;
        return [centre.longitude + Math.cos(turn) * east, centre.latitude + Math.sin(turn) * north];
      });
      const label = `${zoneId} (${ZONES[kind]})`;
      return { type: "Feature", geometry: { type: "Polygon", coordinates: [ring] }, properties: { label, kind } };
    };
    this.set("zones", features(zones.map(circle)));
  }

  /** Riders who wait, and to whom their rides are offered. */
  requests(trips: Trip[], fleet: Fleet, chosen: string | undefined): void {
    const point = (trip: Trip): Feature => ({
      type: "Feature",
      geometry: { type: "Point", coordinates: lngLat(trip.pickup) },
      properties: { trip: trip.tripId, offered: Boolean(trip.openOffer), chosen: trip.tripId === chosen },
    });
    const offer = (trip: Trip): Feature[] => {
      const handle = trip.openOffer && fleet.handle(trip.openOffer.driverId);
      if (handle === undefined) return [];
      const line = [lngLat(fleet.place(handle)), lngLat(trip.pickup)];
      return [{ type: "Feature", geometry: { type: "LineString", coordinates: line }, properties: {} }];
    };
    this.set("requests", features(trips.map(point)));
    this.set("offers", features(trips.flatMap(offer)));
  }

  private set(name: Source, data: Features): void {
    if (data.features.length === 0 && this.data[name].features.length === 0) return;
    this.data[name] = data;
    const source = this.map.getSource(name);
    if (source instanceof GeoJSONSource) source.setData(data);
  }

  private toggle(): void {
    const layers: Record<LayerName, string[]> = {
      traffic: ["traffic"],
      demand: ["demand-fill", "demand-edge", "demand-label"],
      zones: ["zones-fill", "zones-edge", "zones-label"],
      requests: ["offers", "requests-halo", "requests"],
    };
    for (const [name, ids] of Object.entries(layers)) {
      const visibility = this.shown[name as LayerName] ? "visible" : "none";
      for (const id of ids) this.map.setLayoutProperty(id, "visibility", visibility);
    }
  }

  private build(): void {
    const { map } = this;
    for (const name of SOURCES) if (!map.getSource(name)) map.addSource(name, { type: "geojson", data: this.data[name] });
    const ink = dark.matches ? "#f0f2f4" : "#1b1f24";
    const halo = dark.matches ? "#14171c" : "#ffffff";
    const font = ["Noto Sans", "Segoe UI", "Roboto", "sans-serif"];
    const label = (source: Source) => ({
      type: "symbol" as const,
      source,
      layout: { "text-field": ["get", "label"] as never, "text-font": font, "text-size": 12 },
      paint: { "text-color": ink, "text-halo-color": halo, "text-halo-width": 1.5 },
    });
    const pace = ["coalesce", ["feature-state", "pace"], 9];
    map.addLayer(
      {
        id: "traffic",
        type: "line",
        source: "city",
        "source-layer": "roads",
        minzoom: 12,
        layout: { "line-cap": "round" },
        paint: {
          "line-color": ["step", pace, "#c81e1e", SLOW[0], "#ea7317", SLOW[1], "#e3b505", SLOW[2], "#3f9d5a"] as never,
          "line-opacity": ["case", ["<", pace, 9], 0.85, 0] as never,
          "line-width": ["interpolate", ["exponential", 1.5], ["zoom"], 12, 1.5, 16, 4.5, 19, 12],
        },
      },
      "trail",
    );
    const heat = ["interpolate", ["linear"], ["get", "surge"], 100, "#2b6cb0", 130, "#dd6b20", 200, "#c53030"];
    const strength = ["interpolate", ["linear"], ["+", ["get", "waiting"], ["/", ["-", ["get", "surge"], 100], 20]], 0, 0.06, 1, 0.18, 6, 0.42];
    map.addLayer({ id: "demand-fill", type: "fill", source: "demand", paint: { "fill-color": heat as never, "fill-opacity": strength as never } }, "trail");
    map.addLayer({ id: "demand-edge", type: "line", source: "demand", paint: { "line-color": heat as never, "line-opacity": 0.35, "line-width": 1 } }, "trail");
    map.addLayer({ id: "zones-fill", type: "fill", source: "zones", paint: { "fill-color": "#805ad5", "fill-opacity": 0.08 } }, "trail");
    map.addLayer({ id: "zones-edge", type: "line", source: "zones", paint: { "line-color": "#805ad5", "line-width": 1.5, "line-dasharray": [3, 2] } });
    map.addLayer({ id: "offers", type: "line", source: "offers", paint: { "line-color": "#d69e2e", "line-width": 2.5, "line-dasharray": [2, 1.5] } });
    const chosen = ["get", "chosen"] as never;
    map.addLayer({
      id: "requests-halo",
      type: "circle",
      source: "requests",
      paint: { "circle-radius": ["case", chosen, 20, 13], "circle-color": "#e53e3e", "circle-opacity": 0.22 },
    });
    map.addLayer({
      id: "requests",
      type: "circle",
      source: "requests",
      paint: {
        "circle-radius": ["case", chosen, 9, 6],
        "circle-color": ["case", ["get", "offered"], "#d69e2e", "#e53e3e"],
        "circle-stroke-color": halo,
        "circle-stroke-width": 2,
      },
    });
    map.addLayer({ id: "zones-label", ...label("zones") });
    map.addLayer({ id: "demand-label", ...label("demand") });
    this.ready = true;
    this.toggle();
    const { traffic } = this;
    this.traffic = new Map();
    for (const [id, share] of traffic) map.setFeatureState({ source: "city", sourceLayer: "roads", id }, { pace: share });
    this.traffic = traffic;
  }
}
