// The driver's page: go online, take offers, follow the way, let riders in and out, see what it brought.

import { render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import type { Api } from "../lib/api";
import "../lib/base.css";
import "../lib/parts.css";
import type { CityMap } from "../lib/map";
import { Notice, wordsOf } from "../lib/notice";
import { useHere } from "../lib/place-in-page";
import { Screen, type Part } from "../lib/screen";
import { SignedIn } from "../lib/sign-in";
import type { Point, ServiceArea } from "../lib/types";
import "./driver.css";
import { Earnings } from "./earnings";
import { Shift } from "./shift";

const PARTS: Part[] = [{ title: "Drive", place: "" }, { title: "Earnings", place: "earnings" }];

function Page({ api, leave }: { api: Api; leave: () => void }) {
  const here = useHere();
  const [area, setArea] = useState<ServiceArea>();
  const [problem, setProblem] = useState("");
  const [map, setMap] = useState<CityMap>();
  const tapped = useRef<((point: Point) => void) | undefined>(undefined);

  useEffect(() => {
    api.get<ServiceArea>("/v1/service-area").then(setArea, (error) => setProblem(wordsOf(error)));
  }, [api]);

  const part = here.split("/")[0];
  return (
    <Screen api={api} parts={PARTS} area={area} map={map} tapped={tapped} drawn={setMap} leave={leave}>
      {problem && <Notice tone="bad">{problem}</Notice>}
      {!area && !problem && <p class="lead">One moment …</p>}
      {/* The shift goes on while the driver reads what it brought. */}
      {area && (
        <div hidden={part === "earnings"} class="stack">
          <Shift api={api} area={area} map={map} tapped={tapped} />
        </div>
      )}
      {part === "earnings" && <Earnings api={api} />}
    </Screen>
  );
}

render(
  <SignedIn role="driver" title="Drive with Jitney" lead="Sign in to go online and receive offers.">
    {(api, leave) => <Page api={api} leave={leave} />}
  </SignedIn>,
  document.getElementById("page") as HTMLElement,
);
