// Signing in: a phone number and a code. The login is that of a gateway in development; a city in production
// has its own, and opens these pages with a token behind the `#`.

import type { ComponentChildren } from "preact";
import { useMemo, useState } from "preact/hooks";

import { Api, Problem, reach, refused } from "./api";
import { Notice } from "./notice";
import { forget, fromTokens, keep, kept, read, type Role, type Session } from "./session";

async function post<T>(path: string, body: unknown): Promise<T> {
  const answer = await reach(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!answer.ok) throw await refused(answer);
  return (await answer.json()) as T;
}

interface Props {
  role: Role;
  title: string;
  lead: string;
  children: (api: Api, leave: () => void) => ComponentChildren;
}

/** What is inside is for who is signed in; others are asked who they are. */
export function SignedIn({ role, title, lead, children }: Props) {
  const [session, setSession] = useState<Session | undefined>(() => kept(role));
  const [ended, setEnded] = useState(false);
  const leave = (by: "wish" | "end") => {
    forget(role);
    setEnded(by === "end");
    setSession(undefined);
  };
  const api = useMemo(() => session && new Api(session, () => leave("end")), [session]);
  if (api) return <>{children(api, () => leave("wish"))}</>;
  const begin = (next: Session) => {
    keep(next);
    setEnded(false);
    setSession(next);
  };
  return <SignIn role={role} title={title} lead={lead} ended={ended} begin={begin} />;
}

interface FormProps {
  role: Role;
  title: string;
  lead: string;
  ended: boolean;
  begin: (session: Session) => void;
}

function SignIn({ role, title, lead, ended, begin }: FormProps) {
  const hasLogin = role === "rider" || role === "driver";
  const [loginId, setLoginId] = useState("");
  const [phone, setPhone] = useState("");
  const [code, setCode] = useState("");
  const [token, setToken] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | undefined>();

  const attempt = (what: () => Promise<void>) => async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setProblem(undefined);
    try {
      await what();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setProblem(error.status === 404 ? new Problem("NOT_FOUND", NO_LOGIN) : error);
    } finally {
      setBusy(false);
    }
  };
  const start = attempt(async () => {
    const started = await post<{ loginId: string }>("/v1/login:start", { phone });
    setLoginId(started.loginId);
  });
  const finish = attempt(async () => {
    begin(fromTokens(await post("/v1/login:finish", { loginId, code: code.trim(), role })));
  });
  const withToken = attempt(async () => {
    const session = read(token.trim());
    if (session?.role !== role) throw new Problem("INVALID_REQUEST", `This is not a token of the role ${role}.`);
    begin(session);
  });

  return (
    <main class="door">
      <a class="brand" href="/">
        Jitney
      </a>
      <h1>{title}</h1>
      <p class="lead">{lead}</p>
      {ended && <Notice tone="warn">Your session has ended. Please sign in again.</Notice>}
      {problem && <Notice tone="bad">{problem.message}</Notice>}
      {hasLogin && !loginId && (
        <form onSubmit={start} class="stack">
          <label class="field">
            Your phone number
            <input
              type="tel"
              name="phone"
              autocomplete="tel"
              placeholder="+377 93 15 00 00"
              required
              value={phone}
              onInput={({ currentTarget }) => setPhone(currentTarget.value)}
            />
          </label>
          <button class="primary" disabled={busy}>
            Send me a code
          </button>
        </form>
      )}
      {hasLogin && loginId && (
        <form onSubmit={finish} class="stack">
          <label class="field">
            The code of six digits
            <input
              class="digits"
              inputMode="numeric"
              name="code"
              autocomplete="one-time-code"
              pattern="[0-9]{6}"
              maxLength={6}
              required
              autofocus
              value={code}
              onInput={({ currentTarget }) => setCode(currentTarget.value)}
            />
          </label>
          <p class="small">This city is a development one: the code is not sent, it is in the log of the program.</p>
          <button class="primary" disabled={busy}>
            Sign in
          </button>
          <button type="button" class="quiet" onClick={() => setLoginId("")}>
            Another number
          </button>
        </form>
      )}
      <details open={!hasLogin}>
        <summary>Sign in with a token</summary>
        <form onSubmit={withToken} class="stack">
          <label class="field">
            Token
            <input type="password" autocomplete="off" required value={token} onInput={({ currentTarget }) => setToken(currentTarget.value)} />
          </label>
          <p class="small">
            <code>jitney token --role {role} --id NAME</code> makes one; <code>jitney up</code> prints links that hold one.
          </p>
          <button disabled={busy}>Use it</button>
        </form>
      </details>
    </main>
  );
}

const NO_LOGIN = "This city has no login of its own here. Open the page from its app, or use a token.";
