// Which part of a page is shown is behind the `#` of its address, so that going back and loading again work.

import { useEffect, useState } from "preact/hooks";

const here = () => location.hash.replace(/^#\/?/, "");

export function useHere(): string {
  const [at, setAt] = useState(here);
  useEffect(() => {
    const moved = () => setAt(here());
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);
  return at;
}

/** Shows another part; `instead` leaves no way back to this one. */
export function go(to: string, instead = false): void {
  if (here() === to) return;
  const url = `#/${to}`;
  if (!instead) {
    location.hash = url;
    return;
  }
  history.replaceState(history.state, "", url);
  dispatchEvent(new HashChangeEvent("hashchange"));
}
