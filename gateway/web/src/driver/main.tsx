// The driver's page: go online, take offers, follow the way, let riders in and out, see what it brought.

import { render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import type { Api } from "../lib/api";
import "../lib/base.css";
import "../lib/parts.css";
import type { CityMap } from "../lib/map";
import { MapView } from "../lib/map-view";
import { Notice, wordsOf } from "../lib/notice";
import { useHere } from "../lib/place-in-page";
import { signOut } from "../lib/session";
import { SignedIn } from "../lib/sign-in";
import type { Point, ServiceArea } from "../lib/types";
import "./driver.css";
import { Earnings } from "./earnings";
import { Shift } from "./shift";

function Page({ api, leave }: { api: Api; leave: () => void }) {
  const here = useHere();
  const [area, setArea] = useState<ServiceArea>();
  const [problem, setProblem] = useState("");
  const [map, setMap] = useState<CityMap>();
  const tapped = useRef<((point: Point) => void) | undefined>(undefined);
  const sheet = useRef<HTMLElement>(null);

  useEffect(() => {
    api.get<ServiceArea>("/v1/service-area").then(setArea, (error) => setProblem(wordsOf(error)));
  }, [api]);
  useEffect(() => {
    map?.keepClear({ top: 60, bottom: 50, left: 40, right: 40 });
  }, [map]);

  const part = here.split("/")[0];
  return (
    <div class="screen">
      <header class="topbar">
        <a class="brand" href="/">
          Jitney
        </a>
        <nav aria-label="Pages">
          <a class="button small quiet" href="#/" aria-current={part ? undefined : "page"}>
            Drive
          </a>
          <a class="button small quiet" href="#/earnings" aria-current={part === "earnings" ? "page" : undefined}>
            Earnings
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
      {area ? <MapView area={area} tapped={(point) => tapped.current?.(point)} ready={setMap} /> : <div class="map" />}
      <main class="sheet" ref={sheet} tabIndex={-1}>
        {problem && <Notice tone="bad">{problem}</Notice>}
        {!area && !problem && <p class="lead">One moment …</p>}
        {/* The shift goes on while the driver reads what it brought. */}
        {area && (
          <div hidden={part === "earnings"} class="stack">
            <Shift api={api} area={area} map={map} tapped={tapped} />
          </div>
        )}
        {part === "earnings" && <Earnings api={api} />}
      </main>
    </div>
  );
}

render(
  <SignedIn role="driver" title="Drive with Jitney" lead="Sign in to go online and receive offers.">
    {(api, leave) => <Page api={api} leave={leave} />}
  </SignedIn>,
  document.getElementById("page") as HTMLElement,
);
