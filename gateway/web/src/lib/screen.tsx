// What the rider's and the driver's page have in common: the bar on top with its parts, the map, and the
// sheet before it.

import type { ComponentChildren, Ref } from "preact";
import { useEffect } from "preact/hooks";

import type { Api } from "./api";
import type { CityMap } from "./map";
import { MapView } from "./map-view";
import { useHere } from "./place-in-page";
import { signOut } from "./session";
import type { Point, ServiceArea } from "./types";

/** A part of the page: its name, and its place in it; the first has none. */
export type Part = { title: string; place: string };

export function Screen({
  api,
  parts,
  area,
  map,
  tapped,
  drawn,
  leave,
  sheet = null,
  children,
}: {
  api: Api;
  parts: Part[];
  area: ServiceArea | undefined;
  map: CityMap | undefined;
  /** Who is told of the place that somebody taps. */
  tapped: { current: ((point: Point) => void) | undefined };
  /** Is told of the map, once it is there, and of nothing when it goes. */
  drawn: (map: CityMap | undefined) => void;
  leave: () => void;
  /** The sheet, for a page that has something to do with it. */
  sheet?: Ref<HTMLElement>;
  children: ComponentChildren;
}) {
  const part = useHere().split("/")[0];

  useEffect(() => {
    // What the sheet covers on a phone is not part of the map.
    map?.keepClear({ top: 60, bottom: 50, left: 40, right: 64 });
  }, [map]);

  return (
    <div class="screen">
      <header class="topbar">
        <a class="brand" href="/">
          Jitney
        </a>
        <nav aria-label="Pages">
          {parts.map(({ title, place }) => (
            <a key={place} class="button small quiet" href={`#/${place}`} aria-current={part === place ? "page" : undefined}>
              {title}
            </a>
          ))}
          <button
            class="small quiet"
            onClick={() => {
              void signOut(api.session);
              leave();
            }}
          >
            Sign out
          </button>
        </nav>
      </header>
      {area ? <MapView area={area} tapped={(point) => tapped.current?.(point)} ready={drawn} /> : <div class="map" />}
      <main class="sheet" ref={sheet} tabIndex={-1}>
        {children}
      </main>
    </div>
  );
}
