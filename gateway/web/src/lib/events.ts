// Server-sent events, read with fetch: an EventSource cannot send a token. A stream that breaks is taken up
// where it was; one that has ended for good is not.

import { type Api, Problem, pause, problemOf, reach, refused } from "./api";

export interface Told<T> {
  /** A message. */
  message: (message: T) => void;
  /** Whether what is shown is live. */
  live?: (live: boolean) => void;
}

/** Three heartbeats of the gateway: nothing for so long, and the connection is dead. */
const SILENCE_MS_MAX = 45_000;
const FIRST_WAIT_MS = 1_000;
const WAIT_MS_MAX = 15_000;

/** Follows a stream until it has ended for good, or `signal` says stop. */
export async function follow<T>(api: Api, path: string, told: Told<T>, signal: AbortSignal): Promise<void> {
  let last: string | undefined;
  let wait = FIRST_WAIT_MS;
  let token: string | undefined;
  let renew = false;
  while (!signal.aborted) {
    try {
      token = await api.token(renew ? token : undefined);
      const headers: Record<string, string> = {
        Authorization: `Bearer ${token}`,
        Accept: "text/event-stream",
      };
      renew = false;
      if (last) headers["Last-Event-ID"] = last;
      const answer = await reach(path, { headers, signal });
      if (!answer.ok) throw await refused(answer);
      told.live?.(true);
      for await (const event of events(answer, signal)) {
        wait = FIRST_WAIT_MS;
        if (event.id) last = event.id;
        if (event.name === "end") {
          if ((JSON.parse(event.data) as { reason: string }).reason === "COMPLETE") return;
          break;
        }
        if (event.name === "error") throw problemOf(JSON.parse(event.data) as object);
        told.message(JSON.parse(event.data) as T);
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Problem) {
        renew = error.reason === "UNAUTHENTICATED";
        const passes = ["UNAVAILABLE", "OVERLOADED", "DEADLINE_EXCEEDED", "NETWORK"].includes(error.reason);
        if (!passes && !(renew && api.session.refreshToken)) throw error;
        wait = Math.max(wait, error.retryMs);
      }
      // Anything else is a connection that broke in the middle.
    }
    told.live?.(false);
    try {
      await pause(wait, signal);
    } catch {
      return;
    }
    wait = Math.min(WAIT_MS_MAX, wait * 2);
  }
}

interface Event {
  name: string;
  id: string;
  data: string;
}

async function* events(answer: Response, signal: AbortSignal): AsyncGenerator<Event> {
  if (!answer.body) return;
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  const stop = () => void reader.cancel().catch(() => {});
  signal.addEventListener("abort", stop, { once: true });
  let rest = "";
  try {
    for (;;) {
      const silence = setTimeout(stop, SILENCE_MS_MAX);
      const { done, value } = await reader.read().finally(() => clearTimeout(silence));
      if (done) return;
      rest += value;
      for (let end = rest.indexOf("\n\n"); end >= 0; end = rest.indexOf("\n\n")) {
        const event = parse(rest.slice(0, end));
        rest = rest.slice(end + 2);
        if (event.data) yield event;
      }
    }
  } finally {
    signal.removeEventListener("abort", stop);
    stop();
  }
}

function parse(text: string): Event {
  const event: Event = { name: "", id: "", data: "" };
  for (const line of text.split("\n")) {
    const colon = line.indexOf(":");
    if (colon < 1) continue;
    const value = line.slice(colon + 1).replace(/^ /, "");
    switch (line.slice(0, colon)) {
      case "event":
        event.name = value;
        break;
      case "id":
        event.id = value;
        break;
      case "data":
        event.data += event.data ? `\n${value}` : value;
        break;
    }
  }
  return event;
}
