// Calls of the API: the token, what went wrong as one kind of error, and another try where that is right.

import { fresh, type Session } from "./session";

/** A call that did not work. `reason` is the API's own code; the message is for people. */
export class Problem extends Error {
  constructor(
    readonly reason: string,
    message: string,
    readonly status = 0,
    readonly metadata: Record<string, string> = {},
    readonly retryMs = 0,
  ) {
    super(message);
  }
}

interface Detail {
  "@type": string;
  reason?: string;
  metadata?: Record<string, string>;
  retryDelay?: string;
  fieldViolations?: { field: string; description: string }[];
}

interface Status {
  message?: string;
  details?: Detail[];
}

/** Reads a `google.rpc.Status`, as an answer or as the last message of a stream. */
export function problemOf(status: Status, http = 0, retryAfter: string | null = null): Problem {
  const kind = (name: string) => status.details?.find((detail) => detail["@type"].endsWith(name));
  const info = kind("ErrorInfo");
  const hint = kind("RetryInfo")?.retryDelay;
  const seconds = hint ? parseFloat(hint) : Number(retryAfter ?? 0);
  const fields = kind("BadRequest")?.fieldViolations?.map(({ field, description }) => `${field} ${description}`);
  const message = fields?.length ? fields.join("; ") : (status.message ?? "");
  return new Problem(info?.reason ?? "INTERNAL", message, http, info?.metadata, seconds * 1000);
}

const AGAIN = ["UNAVAILABLE", "OVERLOADED", "DEADLINE_EXCEEDED", "NETWORK"];
const TRIES = 4;
const FIRST_WAIT_MS = 400;
const WAIT_MS_MAX = 5_000;

export const pause = (ms: number, signal?: AbortSignal) =>
  new Promise<void>((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    if (signal?.aborted) stop();
    signal?.addEventListener("abort", stop, { once: true });
  });

/** Answers that are the gateway's problem, as an error. */
export async function refused(answer: Response): Promise<Problem> {
  const text = await answer.text().catch(() => "");
  try {
    return problemOf(JSON.parse(text) as Status, answer.status, answer.headers.get("Retry-After"));
  } catch {
    return new Problem("INTERNAL", `the server answered ${answer.status}`, answer.status);
  }
}

export async function reach(path: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(path, init);
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new Problem("NETWORK", "Jitney cannot be reached. Check the connection.");
  }
}

interface Options {
  method?: "GET" | "POST" | "PUT";
  query?: Record<string, string | number | boolean | string[] | undefined>;
  body?: unknown;
  /** Names the request, so that a repetition does nothing twice. */
  key?: string;
  signal?: AbortSignal;
}

/** The API as one signed-in person. Every call of it may be repeated, so those that failed for a moment are. */
export class Api {
  constructor(
    readonly session: Session,
    /** Told when the session is over. */
    private readonly ended: () => void = () => {},
  ) {}

  /** A token that is good for a while; another one than that which was `refused`. */
  async token(refused?: string): Promise<string> {
    const session = await fresh(this.session, refused);
    if (!session) {
      this.ended();
      throw new Problem("UNAUTHENTICATED", "Your session has ended. Please sign in again.", 401);
    }
    return session.accessToken;
  }

  get<T>(path: string, query?: Options["query"], signal?: AbortSignal): Promise<T> {
    return this.call(path, { ...(query && { query }), ...(signal && { signal }) });
  }

  post<T>(path: string, body: unknown = {}, key?: string): Promise<T> {
    return this.call(path, { method: "POST", body, ...(key && { key }) });
  }

  async call<T>(path: string, options: Options = {}): Promise<T> {
    const answer = await this.answer(path, options);
    return (await answer.json()) as T;
  }

  /** A file, to be opened or saved by the browser. */
  async file(path: string, query?: Options["query"]): Promise<Blob> {
    const answer = await this.answer(path, query ? { query } : {});
    return answer.blob();
  }

  private async answer(path: string, options: Options): Promise<Response> {
    let wait = FIRST_WAIT_MS;
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.once(path, options);
      } catch (error) {
        if (!(error instanceof Problem) || !AGAIN.includes(error.reason) || tries === TRIES) throw error;
        await pause(Math.min(WAIT_MS_MAX, Math.max(wait, error.retryMs)), options.signal);
        wait *= 2;
      }
    }
  }

  private async once(path: string, options: Options, before?: string): Promise<Response> {
    const { method = "GET", query, body, key, signal } = options;
    const token = await this.token(before);
    const headers: Record<string, string> = { Authorization: `Bearer ${token}` };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    if (key) headers["Idempotency-Key"] = key;
    const answer = await reach(path + search(query), {
      method,
      headers,
      ...(body !== undefined && { body: JSON.stringify(body) }),
      ...(signal && { signal }),
    });
    if (answer.ok) return answer;
    if (answer.status === 401 && !before && this.session.refreshToken) return this.once(path, options, token);
    const problem = await refused(answer);
    if (answer.status === 401) this.ended();
    throw problem;
  }
}

function search(query: Options["query"]): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value === undefined) continue;
    for (const one of Array.isArray(value) ? value : [value]) parameters.append(name, String(one));
  }
  const text = parameters.toString();
  return text ? `?${text}` : "";
}

/** A name for a request. */
export const newKey = () => crypto.randomUUID?.() ?? `${Date.now()}-${Math.random().toString(36).slice(2)}`;
