// A shift: on or off, where the car is, the offer that is open, and the rides that were taken.

import { useEffect, useRef, useState } from "preact/hooks";

import type { Api } from "../lib/api";
import { DriverStream, type Line } from "../lib/driver-stream";
import type { CityMap } from "../lib/map";
import { Notice } from "../lib/notice";
import { go } from "../lib/place-in-page";
import type { Driver, DriverMessage, Offer, Point, ServiceArea } from "../lib/types";
import { OfferCard } from "./offer";
import { type At, Drive, followDevice, metres, routeOf } from "./position";
import { DriverRide } from "./ride";

/** Twice in the time after which a phone that says nothing is taken off shift, and more. */
const PING_EVERY_MS = 3_000;
/** A tap further than this is driven to; a nearer one is the car being put straight. */
const PUT_M_MAX = 40;

interface Setup {
  plate: string;
  description: string;
  products: string[];
  source: "device" | "map";
}

const SETUP = "jitney.driver.setup";

function keptSetup(area: ServiceArea): Setup {
  const usual: Setup = { plate: "", description: "", products: [area.products[0]?.product ?? ""], source: "device" };
  try {
    return { ...usual, ...(JSON.parse(localStorage.getItem(SETUP) ?? "{}") as Partial<Setup>) };
  } catch {
    return usual;
  }
}

interface Props {
  api: Api;
  area: ServiceArea;
  map: CityMap | undefined;
  tapped: { current: ((point: Point) => void) | undefined };
}

export function Shift({ api, area, map, tapped }: Props) {
  const [line, setLine] = useState<Line>("connecting");
  const [driver, setDriver] = useState<Driver>();
  const [setup, setSetup] = useState(() => keptSetup(area));
  const [at, setAt] = useState<At>();
  const [offer, setOffer] = useState<Offer>();
  const [rides, setRides] = useState<string[]>([]);
  const [told, setTold] = useState("");
  const [refused, setRefused] = useState("");
  const [again, setAgain] = useState(0);
  const stream = useRef<DriverStream | undefined>(undefined);
  const drive = useRef<Drive | undefined>(undefined);
  const latest = useRef<At | undefined>(undefined);
  latest.current = at;

  const online = driver !== undefined && driver.state !== "DRIVER_STATE_OFFLINE";

  const take = (message: DriverMessage) => {
    const { welcome, driverUpdate, pingReceipt, offer, offerWithdrawn, assignment, assignmentEnded } = message;
    const known = welcome?.driver ?? driverUpdate?.driver;
    if (known) {
      setDriver(known);
      if (known.location && !latest.current) setAt({ location: known.location });
      const live = [known.tripId, known.secondTripId].filter(Boolean);
      if (welcome) setRides((before) => [...new Set([...live, ...before])]);
    }
    if (pingReceipt) {
      const reason = pingReceipt.refused[0]?.reason ?? "";
      setRefused(reason === "OUT_OF_ORDER" ? "" : reason);
    }
    if (offer) {
      setOffer(offer);
      setTold("");
      // Whoever reads their earnings has seconds to answer.
      go("");
    }
    if (offerWithdrawn) {
      setOffer((open) => (open?.offerId === offerWithdrawn.offerId ? undefined : open));
      const words: Record<string, string> = {
        OFFER_END_REASON_EXPIRED: "The offer ran out: it went to somebody else.",
        OFFER_END_REASON_WITHDRAWN: "The ride was called off.",
      };
      setTold(words[offerWithdrawn.reason] ?? "");
    }
    if (assignment) {
      setOffer((open) => (open?.tripId === assignment.tripId ? undefined : open));
      setRides((before) => (before.includes(assignment.tripId) ? before : [...before, assignment.tripId]));
    }
    if (assignmentEnded && assignmentEnded.tripState !== "TRIP_STATE_COMPLETED") {
      setRides((before) => before.filter((id) => id !== assignmentEnded.tripId));
      setTold(
        assignmentEnded.tripState === "TRIP_STATE_NO_SHOW"
          ? "The ride is over: the rider did not come. The no-show fee is in your earnings."
          : "The ride is not yours any more: it was called off or given back.",
      );
      stopDriving();
    }
  };
  const taker = useRef(take);
  taker.current = take;

  useEffect(() => {
    const opened = new DriverStream(api, { message: (message) => taker.current(message), line: setLine });
    stream.current = opened;
    return () => opened.close();
  }, [api, again]);

  // What the stream was told before it broke it has to be told again.
  useEffect(() => {
    if (line === "up" && latest.current) ping(latest.current);
  }, [line]);

  const ping = (now: At) => stream.current?.ping(now.location, now.heading, now.speed);
  const moved = (next: At) => {
    setAt(next);
    latest.current = next;
  };
  useEffect(() => {
    if (at) ping(at);
  }, [at]);
  useEffect(() => {
    if (!online && rides.length === 0) return;
    const timer = setInterval(() => latest.current && ping(latest.current), PING_EVERY_MS);
    return () => clearInterval(timer);
  }, [online, rides.length]);

  useEffect(() => {
    if (setup.source !== "device") return;
    return followDevice(moved, (words) => setTold(words));
  }, [setup.source]);

  const stopDriving = () => {
    drive.current?.stop();
    drive.current = undefined;
  };
  useEffect(() => stopDriving, []);
  /** Drives there along the roads, as fast as one may and a bit. */
  const driveTo = async (to: Point) => {
    stopDriving();
    const from = latest.current?.location;
    if (!from) return moved({ location: to });
    if (metres(from, to) < PUT_M_MAX) return moved({ location: to, speed: 0 });
    const route = await routeOf(api, [from, to]).catch(() => undefined);
    if (!route) return setTold("There is no way by road to that place.");
    stopDriving();
    drive.current = new Drive(route.line, Number(route.durationMs), Number(route.distanceMeters), moved, () => (drive.current = undefined));
  };
  useEffect(() => {
    tapped.current = setup.source === "map" ? (point) => void (online || rides.length ? driveTo(point) : moved({ location: point })) : undefined;
    return () => void (tapped.current = undefined);
  });

  useEffect(() => {
    if (!map) return;
    map.car("me", at?.location, at?.heading, "You");
  }, [map, at]);
  const centred = useRef(false);
  useEffect(() => {
    if (map && at && !centred.current) {
      centred.current = true;
      map.fit([at.location], 15);
    }
  }, [map, at]);

  const change = (part: Partial<Setup>) => {
    const next = { ...setup, ...part };
    setSetup(next);
    localStorage.setItem(SETUP, JSON.stringify(next));
  };
  const goOnline = (event: Event) => {
    event.preventDefault();
    setTold("");
    stream.current?.send({
      availability: { available: true, products: setup.products, vehicle: { plate: setup.plate, description: setup.description } },
    });
    if (latest.current) ping(latest.current);
  };
  const goOffline = () => {
    stopDriving();
    stream.current?.send({ availability: { available: false } });
  };

  if (line === "taken-over") {
    return (
      <>
        <h1>You drive elsewhere</h1>
        <p class="lead">Another tab or phone of yours took over.</p>
        <button class="primary" onClick={() => setAgain((n) => n + 1)}>
          Drive from here
        </button>
      </>
    );
  }
  return (
    <>
      {line === "down" && <Notice tone="warn">The connection broke; connecting again …</Notice>}
      {line === "ended" && <Notice tone="bad">The city does not take this connection any more. Sign in again.</Notice>}
      {refused && <Notice tone="warn">{REFUSALS[refused] ?? "Your position was not taken."}</Notice>}
      {told && <Notice tone="info">{told}</Notice>}
      {offer && <OfferCard api={api} area={area} map={map} offer={offer} from={at?.location} over={() => setOffer(undefined)} took={(id) => setRides((before) => (before.includes(id) ? before : [...before, id]))} />}
      {rides.map((tripId, number) => (
        <DriverRide
          key={tripId}
          api={api}
          area={area}
          // The ride that is driven now has the map.
          map={number === 0 && !offer ? map : undefined}
          tripId={tripId}
          next={number > 0}
          at={at?.location}
          driveTo={setup.source === "map" ? driveTo : undefined}
          closed={() => setRides((before) => before.filter((id) => id !== tripId))}
        />
      ))}
      {!offer && rides.length === 0 && online && (
        <header class="stack" data-test="online">
          <h1>You are online</h1>
          <div class="waiting">
            <span class="pulse" aria-hidden="true" />
            <span role="status">{at ? "Waiting for an offer" : "Waiting for your position"}</span>
          </div>
          {!at && <Notice tone="warn">Offers come once the city knows where you are. {setup.source === "map" ? "Tap the map." : ""}</Notice>}
          <Source setup={setup} change={change} />
          <button onClick={goOffline}>Go offline</button>
        </header>
      )}
      {!offer && rides.length === 0 && !online && (
        <form class="stack" onSubmit={goOnline}>
          <h1>You are offline</h1>
          <p class="lead">Riders do not see you, and you get no offers.</p>
          <div class="row wrap">
            <label class="field grow">
              Number plate
              <input required maxLength={16} placeholder="MC 1234" value={setup.plate} onInput={({ currentTarget }) => change({ plate: currentTarget.value })} />
            </label>
            <label class="field grow">
              The car
              <input
                required
                maxLength={80}
                placeholder="White hatchback"
                value={setup.description}
                onInput={({ currentTarget }) => change({ description: currentTarget.value })}
              />
            </label>
          </div>
          <fieldset class="stack">
            <legend>Rides you take</legend>
            <div class="row wrap methods">
              {area.products.map(({ product, title }) => (
                <label key={product}>
                  <input
                    type="checkbox"
                    checked={setup.products.includes(product)}
                    onChange={({ currentTarget }) =>
                      change({ products: currentTarget.checked ? [...setup.products, product] : setup.products.filter((one) => one !== product) })
                    }
                  />{" "}
                  {title}
                </label>
              ))}
            </div>
          </fieldset>
          <Source setup={setup} change={change} />
          <button class="primary" disabled={line !== "up" || setup.products.length === 0}>
            Go online
          </button>
        </form>
      )}
    </>
  );
}

const REFUSALS: Record<string, string> = {
  JUMP: "Your position was not taken: no car is that fast. The next ones will be.",
  OUTSIDE_MAP: "You are outside the map of this city.",
  FROM_THE_FUTURE: "Your position was not taken: this device's clock is ahead.",
};

function Source({ setup, change }: { setup: Setup; change: (part: Partial<Setup>) => void }) {
  return (
    <fieldset class="stack">
      <legend>Where you are</legend>
      <div class="row wrap methods">
        <label>
          <input type="radio" name="source" checked={setup.source === "device"} onChange={() => change({ source: "device" })} /> As this device says
        </label>
        <label>
          <input type="radio" name="source" checked={setup.source === "map"} onChange={() => change({ source: "map" })} /> Tap the map, to try it out
        </label>
      </div>
    </fieldset>
  );
}
