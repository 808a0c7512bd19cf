// Small charts over time, in plain SVG.

import { useState } from "preact/hooks";

export interface Line {
  name: string;
  /** Its class in the style, for the colour. */
  kind: "first" | "second";
  /** One for each time; nothing where nothing is known. */
  values: (number | undefined)[];
}

interface Props {
  title: string;
  /** What is known now, beside the title. */
  now: string;
  lines: Line[];
  times: string[];
  /** The largest value that is drawn, at least. */
  top: number;
  say: (value: number) => string;
  /** Draws columns instead. */
  columns?: boolean;
}

const WIDTH = 320;
const HEIGHT = 78;
const hour = (at: string | undefined) => (at ? new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }) : "");

export function Chart({ title, now, lines, times, top, say, columns }: Props) {
  const [at, setAt] = useState<number>();
  const most = Math.max(top, ...lines.flatMap(({ values }) => values.map((value) => value ?? 0)));
  const x = (number: number) => (times.length < 2 ? 0 : (number / (times.length - 1)) * WIDTH);
  const y = (value: number) => HEIGHT - 2 - (value / most) * (HEIGHT - 8);
  const path = (values: Line["values"]) => {
    let pen = "";
    let down = false;
    values.forEach((value, number) => {
      if (value === undefined) {
        down = false;
        return;
      }
      pen += `${down ? "L" : "M"}${x(number).toFixed(1)} ${y(value).toFixed(1)}`;
      // One value alone is a dot.
      if (!down && values[number + 1] === undefined) pen += "h0.01";
      down = true;
    });
    return pen;
  };
  const told = at === undefined ? "" : lines.map(({ name, values }) => `${name} ${values[at] === undefined ? "–" : say(values[at])}`).join(" · ");
  const ends = lines.map(({ name, values }) => {
    const known = values.filter((value) => value !== undefined);
    return known.length ? `${name}: lowest ${say(Math.min(...known))}, highest ${say(Math.max(...known))}` : `${name}: nothing yet`;
  });
  return (
    <figure class="chart">
      <figcaption>
        <span>{title}</span>
        <strong class="num">{now}</strong>
      </figcaption>
      <svg
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        role="img"
        aria-label={`${title}, ${hour(times[0])} to ${hour(times.at(-1))}. ${ends.join(". ")}`}
        preserveAspectRatio="none"
        onPointerMove={(event) => {
          const box = event.currentTarget.getBoundingClientRect();
          setAt(Math.max(0, Math.min(times.length - 1, Math.round(((event.clientX - box.left) / box.width) * (times.length - 1)))));
        }}
        onPointerLeave={() => setAt(undefined)}
      >
        <path class="grid" d={`M0 ${y(0)}H${WIDTH}M0 ${y(most / 2)}H${WIDTH}M0 ${y(most)}H${WIDTH}`} />
        {columns
          ? lines.map(({ kind, values }) =>
              values.map((value, number) =>
                value ? (
                  <rect key={number} class={`fill ${kind}`} x={x(number) - 2} width={4} y={y(value)} height={HEIGHT - 2 - y(value)} rx={1} />
                ) : null,
              ),
            )
          : lines.map(({ kind, name, values }) => <path key={name} class={`line ${kind}`} d={path(values)} vector-effect="non-scaling-stroke" />)}
        {at !== undefined && <path class="at" d={`M${x(at)} 0V${HEIGHT}`} vector-effect="non-scaling-stroke" />}
      </svg>
      <p class="axis">
        {at === undefined ? (
          <>
            <span>{hour(times[0])}</span>
            <span>up to {say(most)}</span>
            <span>{hour(times.at(-1))}</span>
          </>
        ) : (
          <span>
            {hour(times[at])} · {told}
          </span>
        )}
      </p>
    </figure>
  );
}
