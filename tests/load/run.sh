#!/usr/bin/env bash
# Plays the scenarios beside this file: with ghz where it is on the PATH, otherwise with `jitney bench load`, which reads
# the same files and reports the same fields. Usage: run.sh PROGRAM [SCENARIO ...]
#
# LOAD_MATCHING, LOAD_TRIPS and LOAD_BILLING (each host:port, plain gRPC) and LOAD_TOKEN, a service's token, name a
# running city; without LOAD_TRIPS a city of its own is served on free ports and a private data folder, and stopped.
# TOTAL is how many calls each scenario makes, instead of what its file says; FORMAT=json prints a JSON report for each;
# GHZ names ghz, and empty it is not used. The scenarios' places are in the built-in city.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
program=$(realpath "${1:-$here/../../target/debug/jitney}")
shift || true
scenarios=()
for scenario in "$@"; do scenarios+=("$(realpath "$scenario")"); done
((${#scenarios[@]} > 0)) || scenarios=("$here"/{matching,trips,billing}/*.json)

# Only its owner may read the token in it.
data=$(mktemp -d)
served=
trap 'if [[ -n $served ]]; then kill "$served" 2>/dev/null || true; wait "$served" || true; fi; rm -rf "$data"' EXIT

if [[ -z ${LOAD_TRIPS:-} ]]; then
  unset DATABASE_URL
  export JITNEY_DATA_DIR=$data JITNEY_TELEMETRY__LOG_FORMAT=json JITNEY_LISTEN__METRICS=
  for service in GATEWAY MATCHING TRIPS BILLING; do export "JITNEY_LISTEN__$service=127.0.0.1:0"; done
  cd "$data"
  echo "load: starting a city" >&2
  "$program" serve all >/dev/null 2>"$data/log" &
  served=$!
  for service in matching trips billing; do
    address=
    for ((tries = 0; tries < 600; tries++)); do
      address=$(sed -nE "/\"service\":\"$service\"/ s/.*\"address\":\"([^\"]+)\".*/\1/p" "$data/log" | head -1)
      [[ -n $address ]] && break
      kill -0 "$served" 2>/dev/null || break
      sleep 0.1
    done
    [[ -n $address ]] || { cat "$data/log" >&2; exit 1; }
    export "LOAD_${service^^}=$address"
  done
  LOAD_TOKEN=$("$program" token --role service --id load)
else
  : "${LOAD_MATCHING:?has to name the running matching too}" "${LOAD_BILLING:?has to name the running billing too}"
  LOAD_TOKEN=${LOAD_TOKEN:-$("$program" token --role service --id load)}
fi
export LOAD_MATCHING LOAD_TRIPS LOAD_BILLING LOAD_TOKEN

ghz=${GHZ-ghz}
if [[ -z $ghz ]] || ! command -v "$ghz" >/dev/null 2>&1; then
  options=()
  [[ -n ${TOTAL:-} ]] && options+=(--total "$TOTAL")
  [[ ${FORMAT:-summary} == json ]] && options+=(--json)
  "$program" bench load "${options[@]}" "${scenarios[@]}"
  exit
fi
for scenario in "${scenarios[@]}"; do
  # ghz does not know our variables. It finds the rpcs by reflection.
  text=$(<"$scenario")
  for name in LOAD_MATCHING LOAD_TRIPS LOAD_BILLING LOAD_TOKEN; do text=${text//"\${$name}"/"${!name}"}; done
  printf '%s\n' "$text" >"$data/scenario.json"
  "$ghz" --config "$data/scenario.json" --format "${FORMAT:-summary}" ${TOTAL:+--total "$TOTAL"}
done
