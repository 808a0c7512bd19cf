// The landing page: where to go from here.

import { render } from "preact";

import "../lib/base.css";
import "./index.css";

const PAGES = [
  ["/rider", "Ride", "Say where to, see what it costs, watch the car come, and read what you paid for.", "Get a ride"],
  ["/driver", "Drive", "Go online, take offers, follow the way, and see every cent you earn.", "Go driving"],
  ["/city", "The city", "For the people who run it: every car, every ride, and why it went the way it did.", "Look at the city"],
] as const;

function Landing() {
  return (
    <main class="landing">
      <header class="stack">
        <span class="brand">Jitney</span>
        <h1>Rides for a whole city, from one open program.</h1>
        <p class="lead">
          The car, the price, the ledger and the map are all served from here. No map vendor, no key, nothing from elsewhere.
        </p>
      </header>
      <ul class="doors">
        {PAGES.map(([href, title, told, call]) => (
          <li key={href}>
            <a class="card" href={href}>
              <h2>{title}</h2>
              <p>{told}</p>
              <span class="go" aria-hidden="true">
                {call} →
              </span>
            </a>
          </li>
        ))}
      </ul>
      <footer class="small row wrap">
        <a href="/docs">The API</a>
        <a href="/openapi.json">OpenAPI document</a>
        <a href="/v1">List of routes</a>
        <a href="/assets/licences.txt">Licences of these pages</a>
      </footer>
    </main>
  );
}

render(<Landing />, document.getElementById("page") as HTMLElement);
