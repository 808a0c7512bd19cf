// The dispatch policy in use, and using another one, after a question.

import { useState } from "preact/hooks";

import type { Api } from "../lib/api";
import { Ask } from "../lib/ask";
import { Notice, wordsOf } from "../lib/notice";
import type { Policies, Policy } from "./types";
import { span } from "./words";

/** What a policy does, in words. */
function told(policy: Policy): string {
  const parts = [
    policy.method === "batched"
      ? `collects requests for ${span(policy.windowMs)} and gives them drivers together`
      : "gives each request the nearest driver at once",
    `looks up to ${span(policy.reachMs)} away`,
  ];
  if (Number(policy.reachGrowthMs) > 0) parts.push(`farther the longer a rider waits, up to ${span(policy.reachMaxMs)}`);
  if (Number(policy.chainAheadMs) > 0) parts.push(`gives drivers their next ride ${span(policy.chainAheadMs)} before they are free`);
  return `${parts.join("; ")}.`;
}

export function PolicySwitch({ api, policies, switched }: { api: Api; policies: Policies; switched: () => void }) {
  const [open, setOpen] = useState(false);
  const [chosen, setChosen] = useState(policies.policy);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const use = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setProblem("");
    try {
      await api.post("/v1/policy:use", { policy: chosen });
      setOpen(false);
      switched();
    } catch (error) {
      setProblem(wordsOf(error));
    } finally {
      setBusy(false);
    }
  };
  return (
    <>
      <button
        class="small policy"
        data-test="policy"
        onClick={() => {
          setChosen(policies.policy);
          setOpen(true);
        }}
      >
        <span class="small">Policy</span> {policies.policy}
      </button>
      {open && (
        <Ask title="Dispatch policy" closed={() => setOpen(false)}>
          <form class="stack" onSubmit={use}>
            {problem && <Notice tone="bad">{problem}</Notice>}
            <fieldset class="stack options">
              <legend class="visually-hidden">Policy</legend>
              {policies.policies.map((policy) => (
                <label key={policy.name} class="option">
                  <input type="radio" name="policy" value={policy.name} checked={chosen === policy.name} onChange={() => setChosen(policy.name)} />
                  <span>
                    <strong>{policy.name}</strong> {policy.name === policies.policy && <span class="chip small-chip info">in use</span>}
                    <br />
                    <span class="small">{told(policy)}</span>
                  </span>
                </label>
              ))}
            </fieldset>
            {chosen !== policies.policy && (
              <Notice tone="warn">
                From the next round on, every rider in the city is given a driver by “{chosen}” instead of “{policies.policy}”.
              </Notice>
            )}
            <div class="row">
              <button type="button" class="grow" onClick={() => setOpen(false)}>
                Keep {policies.policy}
              </button>
              <button class="primary grow" disabled={busy || chosen === policies.policy} data-test="policy-confirm">
                Use {chosen}
              </button>
            </div>
          </form>
        </Ask>
      )}
    </>
  );
}
