// The rider's page: say where to, see what it costs, watch the car come, and read what was paid.

import { render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import type { Api } from "../lib/api";
import "../lib/base.css";
import "../lib/parts.css";
import type { CityMap } from "../lib/map";
import { Notice, wordsOf } from "../lib/notice";
import { go, useHere } from "../lib/place-in-page";
import { Screen, type Part } from "../lib/screen";
import { SignedIn } from "../lib/sign-in";
import type { Point, ServiceArea } from "../lib/types";
import { History } from "./history";
import { liveTrip } from "./live-trip";
import { Plan } from "./plan";
import { Ride } from "./ride";

const PARTS: Part[] = [{ title: "Ride", place: "" }, { title: "My rides", place: "rides" }];

function Page({ api, leave }: { api: Api; leave: () => void }) {
  const here = useHere();
  const [area, setArea] = useState<ServiceArea>();
  const [problem, setProblem] = useState("");
  const [map, setMap] = useState<CityMap>();
  const tapped = useRef<((point: Point) => void) | undefined>(undefined);
  const sheet = useRef<HTMLElement>(null);
  const seen = useRef(here);

  useEffect(() => {
    const begin = async () => {
      const [area, live] = await Promise.all([api.get<ServiceArea>("/v1/service-area"), liveTrip(api)]);
      if (live && !here) go(`trips/${live.tripId}`, true);
      setArea(area);
    };
    begin().catch((error) => setProblem(wordsOf(error)));
  }, [api]);

  // Who listens to the page is told that another part of it is there.
  useEffect(() => {
    if (seen.current === here) return;
    seen.current = here;
    sheet.current?.focus();
    sheet.current?.scrollTo(0, 0);
  }, [here]);

  const [part, tripId] = here.split("/");
  const shown = () => {
    if (problem) return <Notice tone="bad">{problem}</Notice>;
    if (!area) return <p class="lead">One moment …</p>;
    if (part === "trips" && tripId) return <Ride key={tripId} api={api} area={area} map={map} tapped={tapped} tripId={tripId} />;
    if (part === "rides") return <History api={api} area={area} />;
    return <Plan api={api} area={area} map={map} tapped={tapped} />;
  };
  return (
    <Screen api={api} parts={PARTS} area={area} map={map} tapped={tapped} drawn={setMap} leave={leave} sheet={sheet}>
      {shown()}
    </Screen>
  );
}

render(
  <SignedIn role="rider" title="Where to?" lead="Sign in to see prices and ask for a car.">
    {(api, leave) => <Page api={api} leave={leave} />}
  </SignedIn>,
  document.getElementById("page") as HTMLElement,
);
