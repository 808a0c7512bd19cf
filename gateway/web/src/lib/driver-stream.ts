// The driver's WebSocket: it stays up, takes up where it broke off, and says what it took in. Offers,
// assignments and their ends come once, however often they are sent.

import { type Api, Problem, pause } from "./api";
import type { DriverMessage, Point } from "./types";

export type Line = "connecting" | "up" | "down" | "taken-over" | "ended";

export interface DriverStreamTold {
  message: (message: DriverMessage) => void;
  line: (line: Line) => void;
}

const FIRST_WAIT_MS = 1_000;
const WAIT_MS_MAX = 15_000;

/** After these there is no use in connecting again by itself. */
const TAKEN_OVER = 4409;
const NOT_OURS = [4400, 4403];
const TOKEN_OVER = 4401;

export class DriverStream {
  private socket: WebSocket | undefined;
  private sessionId = "";
  private lastSeq = 0n;
  private batch = 0;
  private stopped = new AbortController();

  constructor(
    private readonly api: Api,
    private readonly told: DriverStreamTold,
  ) {
    void this.stay();
  }

  close(): void {
    this.stopped.abort();
    this.socket?.close(1000);
  }

  /** Whether it went out; a stream that is down says nothing, and nothing is kept for later. */
  send(message: object): boolean {
    if (this.socket?.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  ping(location: Point, headingDegrees?: number, speedMps?: number): boolean {
    this.batch += 1;
    const ping = { location, ...(headingDegrees !== undefined && { headingDegrees }), ...(speedMps !== undefined && { speedMps }) };
    return this.send({ pings: { batch: String(this.batch), pings: [ping] } });
  }

  private async stay(): Promise<void> {
    let wait = FIRST_WAIT_MS;
    let token: string | undefined;
    let renew = false;
    const { signal } = this.stopped;
    while (!signal.aborted) {
      this.told.line("connecting");
      try {
        token = await this.api.token(renew ? token : undefined);
        renew = false;
        const began = Date.now();
        const code = await this.once(token);
        if (signal.aborted) return;
        if (code === TAKEN_OVER) return this.told.line("taken-over");
        if (NOT_OURS.includes(code)) return this.told.line("ended");
        renew = code === TOKEN_OVER && Boolean(this.api.session.refreshToken);
        if (code === TOKEN_OVER && !renew) return this.told.line("ended");
        if (Date.now() - began > WAIT_MS_MAX) wait = FIRST_WAIT_MS;
      } catch (error) {
        if (error instanceof Problem && error.reason === "UNAUTHENTICATED") return this.told.line("ended");
      }
      this.told.line("down");
      try {
        await pause(wait, signal);
      } catch {
        return;
      }
      wait = Math.min(WAIT_MS_MAX, wait * 2);
    }
  }

  /** One connection, until it is closed; gives the close code. */
  private once(token: string): Promise<number> {
    const address = new URL("/v1/driver-stream", location.href);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(address, ["bearer", token]);
    this.socket = socket;
    return new Promise((resolve) => {
      socket.onopen = () => {
        const resume = this.sessionId && { resumeSessionId: this.sessionId, lastSeq: this.lastSeq.toString() };
        socket.send(JSON.stringify({ hello: resume || {} }));
      };
      socket.onmessage = ({ data }) => this.took(JSON.parse(String(data)) as DriverMessage);
      socket.onclose = ({ code }) => resolve(code);
    });
  }

  private took(message: DriverMessage): void {
    if (message.welcome) {
      if (!message.welcome.resumed) this.lastSeq = 0n;
      this.sessionId = message.welcome.sessionId;
      this.told.line("up");
    }
    const seq = BigInt(message.seq ?? "0");
    if (seq > 0n) {
      const known = seq <= this.lastSeq;
      if (!known) this.lastSeq = seq;
      this.send({ ack: { seq: this.lastSeq.toString() } });
      if (known) return;
    }
    this.told.message(message);
  }
}
