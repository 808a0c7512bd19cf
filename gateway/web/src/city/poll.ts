// What is asked for again and again while somebody looks.

import { useEffect, useRef, useState } from "preact/hooks";

import type { Api } from "../lib/api";
import { wordsOf } from "../lib/notice";

export interface Polled<T> {
  data?: T;
  problem: string;
  /** Asks at once. */
  again: () => void;
}

/** A path's answer, asked for every so many milliseconds; not while the tab is hidden. No path asks nothing. */
export function usePoll<T>(api: Api, path: string | undefined, everyMs: number): Polled<T> {
  const [state, setState] = useState<{ data?: T; problem: string }>({ problem: "" });
  const now = useRef<() => void>(() => {});
  useEffect(() => {
    setState({ problem: "" });
    if (!path) return;
    const stop = new AbortController();
    let timer = 0;
    let asking = false;
    const ask = async () => {
      clearTimeout(timer);
      if (asking) return;
      asking = true;
      if (!document.hidden) {
        try {
          const data = await api.get<T>(path, undefined, stop.signal);
          if (!stop.signal.aborted) setState({ data, problem: "" });
        } catch (error) {
          if (stop.signal.aborted) return;
          setState((before) => ({ ...before, problem: wordsOf(error) }));
        }
      }
      asking = false;
      timer = setTimeout(() => void ask(), everyMs);
    };
    now.current = () => void ask();
    const seen = () => !document.hidden && void ask();
    document.addEventListener("visibilitychange", seen);
    void ask();
    return () => {
      stop.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
    };
  }, [api, path, everyMs]);
  return { ...state, again: () => now.current() };
}

/** A path's answer, asked for once. */
export function useOnce<T>(api: Api, path: string | undefined): Polled<T> & { loading: boolean } {
  const [state, setState] = useState<{ data?: T; problem: string; loading: boolean }>({ problem: "", loading: true });
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    if (!path) return setState({ problem: "", loading: false });
    const stop = new AbortController();
    setState((before) => ({ ...before, problem: "", loading: true }));
    api.get<T>(path, undefined, stop.signal).then(
      (data) => setState({ data, problem: "", loading: false }),
      (error) => !stop.signal.aborted && setState({ problem: wordsOf(error), loading: false }),
    );
    return () => stop.abort();
  }, [api, path, turn]);
  return { ...state, again: () => setTurn((before) => before + 1) };
}
