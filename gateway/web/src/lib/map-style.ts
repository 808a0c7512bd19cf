// How the map is drawn: our own road graph as vector tiles, in the light and in the dark. Nothing comes
// from elsewhere: names are drawn with the fonts of the device, there is no glyph and no sprite server.

import type { LayerSpecification, StyleSpecification } from "maplibre-gl";

interface Colours {
  ground: string;
  casing: string;
  major: string;
  middle: string;
  minor: string;
  lane: string;
  name: string;
  halo: string;
  route: string;
  routeCasing: string;
}

const LIGHT: Colours = {
  ground: "#eef0ea",
  casing: "#d3d5ca",
  major: "#ffe3a3",
  middle: "#ffffff",
  minor: "#ffffff",
  lane: "#f7f7f3",
  name: "#4a4f57",
  halo: "#ffffff",
  route: "#0f766e",
  routeCasing: "#ffffff",
};

const DARK: Colours = {
  ground: "#181c22",
  casing: "#0f1217",
  major: "#6a5a35",
  middle: "#434a55",
  minor: "#333944",
  lane: "#272c35",
  name: "#c3c9d2",
  halo: "#14171c",
  route: "#2dd4bf",
  routeCasing: "#0b0d10",
};

/** The classes of the roads, from the widest to the narrowest; what is drawn like it; its width at zoom 12, 16 and 19. */
const ROADS: [name: string, classes: string[], colour: keyof Colours, from: number, widths: [number, number, number]][] = [
  ["lanes", ["living_street", "service"], "lane", 13.5, [0.4, 3, 14]],
  ["streets", ["residential", "unclassified"], "minor", 11, [0.8, 6, 24]],
  ["tertiary", ["tertiary"], "middle", 9, [1.4, 8, 28]],
  ["secondary", ["secondary"], "middle", 8, [2, 10, 32]],
  ["primary", ["primary"], "major", 6, [2.4, 11, 36]],
  ["motorways", ["motorway", "trunk"], "major", 4, [3, 13, 40]],
];

const width = (widths: [number, number, number], more: number) =>
  ["interpolate", ["exponential", 1.5], ["zoom"], 12, widths[0] + more / 2, 16, widths[1] + more, 19, widths[2] + more] as never;

/** Ids of what is drawn over the roads. */
export const ROUTE = "route";
export const TRAIL = "trail";
const NOTHING = { type: "FeatureCollection" as const, features: [] };

export function mapStyle(dark: boolean, tiles: string, attribution: string, maxzoom: number): StyleSpecification {
  const colours = dark ? DARK : LIGHT;
  const line = (name: string, of: (typeof ROADS)[number], casing: boolean): LayerSpecification => ({
    id: `${name}-${casing ? "casing" : "fill"}`,
    type: "line",
    source: "city",
    "source-layer": "roads",
    minzoom: of[3],
    filter: ["in", ["get", "class"], ["literal", of[1]]],
    layout: { "line-cap": "round", "line-join": "round" },
    paint: { "line-color": casing ? colours.casing : colours[of[2]], "line-width": width(of[4], casing ? 1.6 : 0) },
  });
  return {
    version: 8,
    sources: {
      city: { type: "vector", tiles: [tiles], minzoom: 0, maxzoom, attribution },
      [ROUTE]: { type: "geojson", data: NOTHING },
      [TRAIL]: { type: "geojson", data: NOTHING },
    },
    layers: [
      { id: "ground", type: "background", paint: { "background-color": colours.ground } },
      ...ROADS.map((of) => line(of[0], of, true)),
      ...ROADS.map((of) => line(of[0], of, false)),
      {
        id: "trail",
        type: "line",
        source: TRAIL,
        layout: { "line-cap": "round", "line-join": "round" },
        paint: { "line-color": colours.route, "line-width": 4, "line-opacity": 0.65, "line-dasharray": [0.2, 2] },
      },
      {
        id: "route-casing",
        type: "line",
        source: ROUTE,
        layout: { "line-cap": "round", "line-join": "round" },
        paint: { "line-color": colours.routeCasing, "line-width": 8, "line-opacity": 0.85 },
      },
      {
        id: "route",
        type: "line",
        source: ROUTE,
        layout: { "line-cap": "round", "line-join": "round" },
        paint: { "line-color": colours.route, "line-width": 4.5 },
      },
      {
        id: "names",
        type: "symbol",
        source: "city",
        "source-layer": "roads",
        minzoom: 13,
        filter: ["all", ["has", "name"], ["!=", ["get", "name"], ""]],
        layout: {
          "symbol-placement": "line",
          "symbol-spacing": 280,
          "text-field": ["get", "name"],
          "text-font": ["Noto Sans", "Segoe UI", "Roboto", "sans-serif"],
          "text-size": ["interpolate", ["linear"], ["zoom"], 13, 10, 18, 14],
          "text-max-angle": 35,
          "symbol-sort-key": [
            "match",
            ["get", "class"],
            ["motorway", "trunk"],
            0,
            "primary",
            1,
            "secondary",
            2,
            "tertiary",
            3,
            ["residential", "unclassified"],
            4,
            5,
          ],
        },
        paint: { "text-color": colours.name, "text-halo-color": colours.halo, "text-halo-width": 1.4 },
      },
    ],
  };
}
