// Who is signed in on this tab. The tokens are kept for the tab alone and are gone when it is closed.
//
// A page may be opened with a token behind the `#` of its address, as `jitney up` prints it: what is behind
// it is never sent to a server, and it is taken out of the address at once.

export type Role = "rider" | "driver" | "operator" | "guest";

export interface Session {
  role: Role;
  id: string;
  accessToken: string;
  /** Milliseconds since 1970. */
  expiresAt: number;
  refreshToken?: string;
}

interface Tokens {
  accessToken: string;
  expiresIn: number;
  refreshToken: string;
  role: Role;
  id: string;
}

/** Renewed this long before its end: a call must not meet it. */
const RENEWED_BEFORE_MS = 60_000;

const key = (role: Role) => `jitney.session.${role}`;

/** The session of a role on this tab. */
export function kept(role: Role): Session | undefined {
  const fromLink = tokenInAddress();
  if (fromLink?.role === role) keep(fromLink);
  const text = sessionStorage.getItem(key(role));
  if (!text) return undefined;
  try {
    const session = JSON.parse(text) as Session;
    const over = session.expiresAt <= Date.now() && !session.refreshToken;
    return over ? undefined : session;
  } catch {
    return undefined;
  }
}

export function keep(session: Session): void {
  sessionStorage.setItem(key(session.role), JSON.stringify(session));
}

export function forget(role: Role): void {
  sessionStorage.removeItem(key(role));
}

export function fromTokens(tokens: Tokens): Session {
  return {
    role: tokens.role,
    id: tokens.id,
    accessToken: tokens.accessToken,
    expiresAt: Date.now() + tokens.expiresIn * 1000,
    refreshToken: tokens.refreshToken,
  };
}

/** What a token says of itself. Whether it is true the gateway checks; this only shows it. */
export function read(token: string): Session | undefined {
  try {
    const [, middle = ""] = token.split(".");
    const base64 = middle.replaceAll("-", "+").replaceAll("_", "/");
    const claims = JSON.parse(atob(base64)) as { sub?: string; role?: Role; exp?: number };
    if (!claims.sub || !claims.role || !claims.exp) return undefined;
    return { role: claims.role, id: claims.sub, accessToken: token, expiresAt: claims.exp * 1000 };
  } catch {
    return undefined;
  }
}

/** `#token=…` of the address, once. */
function tokenInAddress(): Session | undefined {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!token) return undefined;
  history.replaceState(history.state, "", location.pathname + location.search);
  return read(token);
}

let renewing: Promise<Session | undefined> | undefined;

/** The session with a token that is good for a while yet, and is not the one that was `refused`. Each refresh
 * token works once, so one part of a page renews at a time and the others wait for it. */
export async function fresh(session: Session, refused?: string): Promise<Session | undefined> {
  const stored = kept(session.role);
  const current = stored && stored.id === session.id ? stored : session;
  const other = current.accessToken !== refused;
  if (!current.refreshToken) return other && current.expiresAt > Date.now() ? current : undefined;
  if (other && current.expiresAt - RENEWED_BEFORE_MS > Date.now()) return current;
  renewing ??= renew(current).finally(() => (renewing = undefined));
  return renewing;
}

async function renew(session: Session): Promise<Session | undefined> {
  const answer = await fetch("/v1/login:refresh", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ refreshToken: session.refreshToken }),
  });
  if (answer.status === 401) {
    forget(session.role);
    return undefined;
  }
  // A gateway that is away for a moment ends no session.
  if (!answer.ok) return session;
  const next = fromTokens((await answer.json()) as Tokens);
  keep(next);
  return next;
}

export async function signOut(session: Session): Promise<void> {
  forget(session.role);
  if (!session.refreshToken) return;
  const body = JSON.stringify({ refreshToken: session.refreshToken });
  await fetch("/v1/login:logout", { method: "POST", headers: { "Content-Type": "application/json" }, body }).catch(() => {});
}
