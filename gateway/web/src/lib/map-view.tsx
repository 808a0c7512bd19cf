// The map as a part of a page. What draws it is large and comes once the map is wanted.

import "maplibre-gl/dist/maplibre-gl.css";

import { useEffect, useRef, useState } from "preact/hooks";

import type { CityMap } from "./map";
import type { Point, ServiceArea } from "./types";

interface Props {
  area: ServiceArea;
  tapped?: (point: Point) => void;
  /** Given the map once it is there, and nothing when it goes. */
  ready: (map: CityMap | undefined) => void;
}

/** Whether this device can draw the map at all. */
function canDraw(): boolean {
  return Boolean(document.createElement("canvas").getContext("webgl2"));
}

export function MapView({ area, tapped, ready }: Props) {
  const container = useRef<HTMLDivElement>(null);
  const [drawn, setDrawn] = useState(canDraw);
  // The page's own functions may be others each time; the map stays the same.
  const latest = useRef({ tapped, ready });
  latest.current = { tapped, ready };
  useEffect(() => {
    if (!drawn) return;
    let gone = false;
    let map: CityMap | undefined;
    const begin = async () => {
      const { CityMap } = await import("./map");
      if (gone || !container.current) return;
      map = new CityMap(container.current, {
        area: area.area,
        attribution: area.attribution,
        tapped: (point) => latest.current.tapped?.(point),
      });
      latest.current.ready(map);
    };
    begin().catch(() => setDrawn(false));
    return () => {
      gone = true;
      latest.current.ready(undefined);
      map?.destroy();
    };
  }, [drawn, area.mapId]);
  if (!drawn) {
    return (
      <section class="map map-missing" aria-label="Map">
        <p>This browser cannot draw the map. Everything else works: find places by the names of their streets.</p>
        <p class="small">{area.attribution}</p>
      </section>
    );
  }
  return <section class="map" aria-label="Map" ref={container} />;
}
