#!/usr/bin/env bash
# Sends a sandbox whatever its own OpenAPI document allows and does not allow, as a rider, a driver, an operator
# and a service, and looks for answers that the document does not: 5xx, a body of another form, a call that goes
# through without a token. Usage: fuzz.sh PROGRAM [option of schemathesis ...]; EXAMPLES is how many requests are
# made up per operation, ROLES who asks.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
program=$(realpath "${1:-$here/../../target/debug/jitney}")
shift || true
venv=${VENV:-$(dirname "$(dirname "$program")")/schemathesis}

command -v python3 >/dev/null 2>&1 || { echo "fuzz: python3 is not installed" >&2; exit 1; }
if [[ ! $venv/.complete -nt $here/requirements.txt ]]; then
  echo "fuzz: installing schemathesis with pip in $venv" >&2
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
  touch "$venv/.complete"
fi

data=$(mktemp -d)
unset DATABASE_URL
export JITNEY_DATA_DIR=$data
export JITNEY_TELEMETRY__LOG_FORMAT=json
for service in GATEWAY MATCHING TRIPS BILLING; do export "JITNEY_LISTEN__$service=127.0.0.1:0"; done
# Nothing is to be turned away for coming too often.
for limit in REQUESTS_PER_SECOND REQUESTS_BURST ADDRESS_REQUESTS_PER_SECOND ADDRESS_REQUESTS_BURST \
  ADDRESS_REFUSALS_PER_MINUTE; do export "JITNEY_GATEWAY__$limit=1000000"; done

cd "$data"
"$program" serve all >/dev/null 2>"$data/log" &
served=$!
fleet=
trap 'kill $fleet "$served" 2>/dev/null || true; wait $fleet "$served" || true; rm -rf "$data"' EXIT
url=
for ((tries = 0; tries < 600; tries++)); do
  address=$(sed -nE '/"service":"gateway"/ s/.*"address":"([^"]+)".*/\1/p' "$data/log" | head -1)
  [[ -n $address ]] && { url=http://$address; break; }
  kill -0 "$served" 2>/dev/null || break
  sleep 0.1
done
[[ -n $url ]] || { cat "$data/log" >&2; exit 1; }

# The ids are those of the document's examples.
declare -A ids=([rider]=anna [driver]=dora [operator]=ops [service]=backend) tokens=()
for role in "${!ids[@]}"; do tokens[$role]=$("$program" token --role "$role" --id "${ids[$role]}"); done
"$venv/bin/python" "$here/known.py" "$url" "${tokens[rider]}" "${tokens[driver]}" "${tokens[operator]}" >"$data/known.json"
"$program" simulate --url "$url" --drivers 6 --minutes 120 >/dev/null 2>&1 &
fleet=$!
export KNOWN=$data/known.json SCHEMATHESIS_HOOKS=hooks PYTHONPATH=$here PYTHONDONTWRITEBYTECODE=1
failed=()
for role in ${ROLES:-rider driver operator service}; do
  echo "fuzz: as $role ${ids[$role]}" >&2
  # Streams are left out: they end when something happens, and nothing does.
  "$venv/bin/schemathesis" --config-file "$here/schemathesis.toml" run "$url/openapi.json" --url "$url" \
    --header "Authorization: Bearer ${tokens[$role]}" \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,ignored_auth \
    --exclude-path-regex ':watch$' \
    --phases examples,coverage,fuzzing,stateful --max-examples "${EXAMPLES:-20}" --seed "${SEED:-1}" --request-timeout 15 \
    --generation-database none --suppress-health-check all --warnings off --no-color \
    "$@" || failed+=("$role")
done
# A call for help is meant to wake somebody.
if grep '"level":"ERROR"' "$data/log" | grep -v '"a call for help"' >&2; then failed+=("the log"); fi
((${#failed[@]} == 0)) || { echo "fuzz: findings as: ${failed[*]}" >&2; exit 1; }
