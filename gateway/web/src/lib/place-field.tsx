// A place, found by the name of its street. The list under the field is worked with the arrow keys.

import { useEffect, useId, useRef, useState } from "preact/hooks";

import { type Api, pause } from "./api";
import { way } from "./format";
import { wordsOf } from "./notice";
import type { Point } from "./types";

export interface Place {
  title: string;
  location: Point;
}

interface Found extends Place {
  distanceMeters?: string;
}

/** So long after the last key the search is made. */
const TYPING_MS = 160;

interface Props {
  api: Api;
  label: string;
  placeholder: string;
  value: Place | undefined;
  /** Whether a tap on the map goes here. */
  active: boolean;
  /** Whether it takes the focus when it appears. */
  grab?: boolean;
  near: () => Point | undefined;
  chosen: (place: Place | undefined) => void;
  focused: () => void;
}

export function PlaceField({ api, label, placeholder, value, active, grab = false, near, chosen, focused }: Props) {
  const [text, setText] = useState(value?.title ?? "");
  const [typed, setTyped] = useState(false);
  const [found, setFound] = useState<Found[]>([]);
  const [open, setOpen] = useState(false);
  const [at, setAt] = useState(0);
  const [told, setTold] = useState("");
  const id = useId();
  const input = useRef<HTMLInputElement>(null);

  useEffect(() => {
    if (grab) input.current?.focus();
  }, []);

  useEffect(() => {
    setText(value?.title ?? "");
    setTyped(false);
  }, [value]);

  useEffect(() => {
    if (!typed || text.trim().length < 2) {
      setFound([]);
      setOpen(false);
      return;
    }
    const stop = new AbortController();
    const search = async () => {
      await pause(TYPING_MS, stop.signal);
      const middle = near();
      const query = {
        query: text.trim(),
        limit: 6,
        ...(middle && { "near.latitude": middle.latitude, "near.longitude": middle.longitude }),
      };
      const { places } = await api.get<{ places: Found[] }>("/v1/places:search", query, stop.signal);
      setFound(places);
      setAt(0);
      setOpen(true);
      setTold(places.length ? `${places.length} found` : "No street of that name in this city");
    };
    search().catch((error) => {
      if (stop.signal.aborted) return;
      setFound([]);
      setOpen(true);
      setTold(wordsOf(error));
    });
    return () => stop.abort();
  }, [api, text, typed]);

  const choose = (place: Found | undefined) => {
    if (!place) return;
    setOpen(false);
    setTold("");
    chosen({ title: place.title, location: place.location });
  };
  const keyed = (event: KeyboardEvent) => {
    if (!open) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && found.length) {
      event.preventDefault();
      setAt((before) => (before + step + found.length) % found.length);
    } else if (event.key === "Enter" && found.length) {
      event.preventDefault();
      choose(found[at]);
    } else if (event.key === "Escape") {
      setOpen(false);
    }
  };
  const isOpen = open && found.length > 0;
  return (
    <div class={`place-field ${active ? "active" : ""}`}>
      <label for={id}>{label}</label>
      <input
        id={id}
        ref={input}
        role="combobox"
        aria-expanded={isOpen}
        aria-controls={`${id}-list`}
        aria-autocomplete="list"
        aria-activedescendant={isOpen ? `${id}-${at}` : undefined}
        autocomplete="off"
        spellcheck={false}
        placeholder={placeholder}
        value={text}
        onFocus={() => {
          focused();
          input.current?.select();
        }}
        onInput={({ currentTarget }) => {
          setText(currentTarget.value);
          setTyped(true);
          if (!currentTarget.value) chosen(undefined);
        }}
        onKeyDown={keyed}
        onBlur={() => {
          setOpen(false);
          // What was typed and not chosen is no place.
          setText(value?.title ?? "");
          setTyped(false);
        }}
      />
      <ul id={`${id}-list`} role="listbox" aria-label={label} hidden={!isOpen}>
        {found.map((place, number) => (
          <li
            key={`${place.title} ${place.location.latitude}`}
            id={`${id}-${number}`}
            role="option"
            aria-selected={number === at}
            // Before the field loses the focus.
            onPointerDown={(event) => {
              event.preventDefault();
              choose(place);
            }}
          >
            <span>{place.title}</span>
            {place.distanceMeters && <span class="small num">{way(place.distanceMeters)}</span>}
          </li>
        ))}
      </ul>
      {open && !found.length && <p class="small nothing">{told}</p>}
      <span class="visually-hidden" role="status">
        {isOpen ? told : ""}
      </span>
    </div>
  );
}
