// The city's page, for the people who run it: drivers and riders as they move, how well it goes, and for each
// ride what happened, why, and where its money went.

import { render } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import type { Api } from "../lib/api";
import "../lib/base.css";
import type { CityMap } from "../lib/map";
import { MapView } from "../lib/map-view";
import { Notice, wordsOf } from "../lib/notice";
import { go, useHere } from "../lib/place-in-page";
import { signOut } from "../lib/session";
import { SignedIn } from "../lib/sign-in";
import type { BoundingBox, Point, Trip } from "../lib/types";
import { Cars } from "./cars";
import "./city.css";
import { Compare } from "./compare";
import { Fleet, watchFleet } from "./fleet";
import { Now } from "./now";
import { type LayerName, Overlay } from "./overlay";
import { DriverPanel, RiderPanel } from "./person";
import { PolicySwitch } from "./policy";
import { useOnce, usePoll } from "./poll";
import { Search } from "./search";
import { TripPanel } from "./trip";
import type { CityArea, DemandCell, Policies, TollGate, TrafficRoad, Zone } from "./types";

const WAITING_EVERY_MS = 2_000;
const DEMAND_EVERY_MS = 5_000;
const TRAFFIC_EVERY_MS = 10_000;
/** How much more than what is seen is watched, so that a small move of the map asks for nothing. */
const WATCHED_MORE = 0.15;
const MOVED_WAIT_MS = 350;
const WAITING = "/v1/trips?pageSize=100&states=TRIP_STATE_SEARCHING&states=TRIP_STATE_OFFERED";

function Page({ api, leave }: { api: Api; leave: () => void }) {
  const here = useHere();
  const [part, rawId = ""] = here.split("/");
  const id = decodeURIComponent(rawId);
  const fleet = useMemo(() => new Fleet(), [api]);
  const area = useOnce<CityArea>(api, "/v1/service-area");
  const policies = useOnce<Policies>(api, "/v1/policy");
  const waiting = usePoll<{ trips: Trip[]; nextPageToken: string }>(api, WAITING, WAITING_EVERY_MS);
  const [layers, setLayers] = useState<Record<LayerName, boolean>>({ traffic: true, requests: true, demand: false, zones: true });
  const [map, setMap] = useState<CityMap>();
  const [live, setLive] = useState(true);
  const [followed, setFollowed] = useState<string>();
  const looks = useLooks(api, map, fleet, setLive);
  const trips = waiting.data?.trips ?? [];

  const demand = usePoll<{ cells: DemandCell[] }>(api, layers.demand ? "/v1/demand" : undefined, DEMAND_EVERY_MS);
  const traffic = usePoll<{ roads: TrafficRoad[] }>(api, layers.traffic ? "/v1/traffic?omitLines=true" : undefined, TRAFFIC_EVERY_MS);
  const zones = useOnce<{ zones: Zone[]; tolls: TollGate[] }>(api, "/v1/fare-zones");
  const overlay = looks?.overlay;
  useEffect(() => overlay?.demand(demand.data?.cells ?? []), [overlay, demand.data]);
  useEffect(() => overlay?.roads(traffic.data?.roads ?? []), [overlay, traffic.data]);
  useEffect(() => overlay?.requests(trips, fleet, part === "trips" ? id : undefined), [overlay, waiting.data, here]);
  useEffect(() => {
    const queues = (area.data?.queueZones ?? []).map((zone) => ({ ...zone, kind: "queue" as const }));
    const fares = (zones.data?.zones ?? []).map((zone) => ({ ...zone, kind: "fare" as const }));
    const tolls = (zones.data?.tolls ?? []).map(({ gateId, ...gate }) => ({ ...gate, zoneId: gateId, kind: "toll" as const }));
    overlay?.zones([...fares, ...tolls, ...queues]);
  }, [overlay, zones.data, area.data]);
  useEffect(() => {
    for (const [name, on] of Object.entries(layers)) overlay?.show(name as LayerName, on);
  }, [overlay, layers]);

  // A driver who is looked at stands out; one who is followed stays in the middle.
  const driver = part === "drivers" ? id : undefined;
  useEffect(() => {
    if (looks) looks.cars.chosen = driver;
    setFollowed(undefined);
    const handle = driver === undefined ? undefined : fleet.handle(driver);
    if (map && handle !== undefined) map.fit([fleet.place(handle)], Math.max(14, map.map.getZoom()));
  }, [looks, driver]);
  useEffect(() => {
    if (!followed || !map) return;
    const timer = setInterval(() => {
      const handle = fleet.handle(followed);
      if (handle === undefined) return;
      const { latitude, longitude } = fleet.place(handle);
      map.map.easeTo({ center: [longitude, latitude], duration: 900, easing: (share) => share });
    }, 1_000);
    return () => clearInterval(timer);
  }, [followed, map]);
  // The ride that is looked at is on the map as well.
  const shown = (trip: Trip) => {
    map?.place("pickup", trip.pickup, "pickup", "Pick-up");
    map?.place("dropoff", trip.dropoff, "dropoff", "Drop-off");
    map?.fit([trip.pickup, trip.dropoff], 16);
  };
  useEffect(() => {
    map?.place("pickup", undefined, "pickup", "");
    map?.place("dropoff", undefined, "dropoff", "");
  }, [map, here]);

  const panel = useRef<HTMLElement>(null);
  const seen = useRef(here);
  useEffect(() => {
    if (seen.current === here) return;
    seen.current = here;
    panel.current?.scrollTo(0, 0);
    panel.current?.focus();
  }, [here]);

  const names = policies.data?.policies.map(({ name }) => name) ?? [];
  const isCompared = part === "compare";
  const details = () => {
    switch (part) {
      case "trips":
        return <TripPanel key={id} api={api} tripId={id} policies={names} shown={shown} />;
      case "drivers":
        return (
          <DriverPanel key={id} api={api} driverId={id} following={followed === id} follow={(on) => setFollowed(on ? id : undefined)} />
        );
      case "riders":
        return <RiderPanel key={id} api={api} riderId={id} />;
      default:
        return undefined;
    }
  };
  const opened = details();
  return (
    <div class={`screen city ${isCompared ? "compared" : ""} ${opened ? "opened" : ""}`}>
      <header class="topbar">
        <a class="brand" href="#/">
          Jitney <span class="where">{area.data?.mapName}</span>
        </a>
        <Search api={api} fleet={fleet} near={() => map?.centre()} show={(place: Point) => map?.fit([place], 17)} />
        <nav aria-label="Pages">
          {!live && (
            <span class="chip small-chip warn" role="status">
              Reconnecting …
            </span>
          )}
          {policies.data && <PolicySwitch api={api} policies={policies.data} switched={policies.again} />}
          <a class="button small quiet" href="#/" aria-current={isCompared ? undefined : "page"}>
            Live
          </a>
          <a class="button small quiet" href="#/compare" aria-current={isCompared ? "page" : undefined}>
            Compare
          </a>
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
      {area.data ? <MapView area={area.data} ready={setMap} /> : <div class="map" />}
      {isCompared ? (
        <Compare />
      ) : (
        <main class="sheet">
          {area.problem && <Notice tone="bad">{area.problem}</Notice>}
          {waiting.problem && <Notice tone="warn">{waiting.problem}</Notice>}
          <Now api={api} fleet={fleet} waiting={trips} more={Boolean(waiting.data?.nextPageToken)} layers={layers} setLayer={(name, on) => setLayers((before) => ({ ...before, [name]: on }))} />
        </main>
      )}
      {opened && !isCompared && (
        <aside class="details" ref={panel} tabIndex={-1} aria-label="Details" onKeyDown={({ key }) => key === "Escape" && go("")}>
          <a class="button small quiet close" href="#/" aria-label="Close the details">
            ✕
          </a>
          {opened}
        </aside>
      )}
    </div>
  );
}

interface Looks {
  cars: Cars;
  overlay: Overlay;
}

/** What lies on the map, and the stream of the drivers that are seen. */
function useLooks(api: Api, city: CityMap | undefined, fleet: Fleet, setLive: (live: boolean) => void): Looks | undefined {
  const [looks, setLooks] = useState<Looks>();
  useEffect(() => {
    if (!city) return;
    const { map } = city;
    city.keepClear({ top: 60, bottom: 60, left: 60, right: 60 });
    const cars = new Cars(map, fleet, () => {
      performance.mark("city-drawn");
      // The map is larger than where people are. Whoever has moved it already is left alone.
      if (!touched) city.fit(fleet.corners(), 16);
    });
    let touched = false;
    map.on("movestart", ({ originalEvent }) => (touched ||= Boolean(originalEvent)));
    const overlay = new Overlay(map);
    // For `jitney bench city`, and whoever wonders.
    (window as { jitneyPace?: unknown }).jitneyPace = cars.pace;
    setLooks({ cars, overlay });
    map.on("click", ({ point }) => {
      const driver = cars.at(point.x, point.y);
      if (driver) return go(`drivers/${encodeURIComponent(driver)}`);
      const near: [[number, number], [number, number]] = [
        [point.x - 8, point.y - 8],
        [point.x + 8, point.y + 8],
      ];
      const [request] = map.getLayer("requests") ? map.queryRenderedFeatures(near, { layers: ["requests"] }) : [];
      if (request) go(`trips/${String(request.properties["trip"])}`);
    });
    map.on("mousemove", ({ point }) => {
      map.getCanvas().style.cursor = cars.at(point.x, point.y) ? "pointer" : "";
    });
    return () => {
      cars.destroy();
      setLooks(undefined);
    };
  }, [city, fleet]);

  useEffect(() => {
    if (!city) return;
    const { map } = city;
    let watched: BoundingBox | undefined;
    let stop = new AbortController();
    let timer = 0;
    const look = () => {
      const seen = map.getBounds();
      const [west, south, east, north] = [seen.getWest(), seen.getSouth(), seen.getEast(), seen.getNorth()];
      const [wide, high] = [east - west, north - south];
      const inside =
        watched &&
        west >= watched.southWest.longitude &&
        south >= watched.southWest.latitude &&
        east <= watched.northEast.longitude &&
        north <= watched.northEast.latitude;
      // Much less than is watched is seen: the rest need not be told.
      const fits = watched && wide * 3 > watched.northEast.longitude - watched.southWest.longitude;
      if (inside && fits) return;
      watched = {
        southWest: { latitude: Math.max(-85, south - high * WATCHED_MORE), longitude: Math.max(-180, west - wide * WATCHED_MORE) },
        northEast: { latitude: Math.min(85, north + high * WATCHED_MORE), longitude: Math.min(180, east + wide * WATCHED_MORE) },
      };
      stop.abort();
      stop = new AbortController();
      const { signal } = stop;
      watchFleet(api, fleet, watched, setLive, signal).catch((error) => {
        if (!signal.aborted) console.warn(wordsOf(error));
      });
    };
    const moved = () => {
      clearTimeout(timer);
      timer = setTimeout(look, MOVED_WAIT_MS);
    };
    look();
    map.on("moveend", moved);
    return () => {
      clearTimeout(timer);
      map.off("moveend", moved);
      stop.abort();
    };
  }, [api, city, fleet]);
  return looks;
}

render(
  <SignedIn role="operator" title="The city" lead="For the people who run it: what is going on, and why.">
    {(api, leave) => <Page api={api} leave={leave} />}
  </SignedIn>,
  document.getElementById("page") as HTMLElement,
);
