// The page under construction: who is signed in, and the map.

import { render } from "preact";
import { useEffect, useState } from "preact/hooks";

import type { Api } from "../lib/api";
import "../lib/base.css";
import { MapView } from "../lib/map-view";
import { Notice, wordsOf } from "../lib/notice";
import { SignedIn } from "../lib/sign-in";
import type { ServiceArea } from "../lib/types";

function Page({ api, leave }: { api: Api; leave: () => void }) {
  const [area, setArea] = useState<ServiceArea>();
  const [problem, setProblem] = useState("");
  useEffect(() => {
    api.get<ServiceArea>("/v1/service-area").then(setArea, (error) => setProblem(wordsOf(error)));
  }, [api]);
  return (
    <div class="screen">
      <header class="topbar">
        <a class="brand" href="/">
          Jitney
        </a>
        <nav>
          <button class="small" onClick={leave}>
            Sign out
          </button>
        </nav>
      </header>
      {area && <MapView area={area} ready={() => {}} />}
      <main class="sheet">
        <h1>The city</h1>
        {problem && <Notice tone="bad">{problem}</Notice>}
      </main>
    </div>
  );
}

render(
  <SignedIn role="operator" title="The city" lead="For the people who run it.">
    {(api, leave) => <Page api={api} leave={leave} />}
  </SignedIn>,
  document.getElementById("page") as HTMLElement,
);
