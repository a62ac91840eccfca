#!/usr/bin/env bash
# All real peers together, in one command: Keycloak, Cerbos, OPA, ToolHive before two MCP servers, and an OpenTelemetry
# collector feed one Apache Kafka; an agent works for two people; vialog reads it all into one lake; then every act must be
# there as one row with person, agent, server, tool, decision, reason and token, and every call that the gateway did not
# write down must be named.
#
#   together.sh VIALOG [--seed S] [--keep] [--capture FOLDER]
#
# VIALOG is the program to test. --keep leaves data, logs and the lake where they are, as a failure does; the peers are always stopped.
# --capture writes what lay on Kafka, and the truth, to files of a folder (tests/fixtures/captured).
# TOGETHER_PORT (29570) is the first of fourteen ports on 127.0.0.1. The first run installs the peers (together/install.sh, 12
# minutes on two idle cores); later ones take 70 seconds. Exit code 0: all of it was true. It is no load test.
set -euo pipefail
if [ ! -x "${1:-}" ]; then sed -n '2,13p' "$0" >&2 && exit 2; fi
vialog=$(realpath "$1")
shift
seed=1 keep=0 capture=
while [ $# -gt 0 ]; do
  case $1 in
    --seed) seed=$2 && shift 2 ;;
    --keep) keep=1 && shift ;;
    --capture) capture=$(realpath "$2") && shift 2 ;;
    *) echo "together.sh: unknown option $1" >&2 && exit 2 ;;
  esac
done
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=together/lib.sh
. together/lib.sh

say() { echo "together.sh: $*" >&2; }

clean() {
  local code=$?
  together/peers.sh down || true
  if [ "$keep" = 1 ] || [ "$code" != 0 ]; then say "data and logs are in $run"; else rm -rf "$run"; fi
  rm -f "$run.lock"
}

exec 9>"$run.lock"
flock -n 9 || die "another one uses these ports"
together/install.sh 9>&-
trap clean EXIT
say "starting the peers"
together/peers.sh up 9>&-

# Hours are what `lost_calls` counts by: the scenario stays within one.
left=$((3600 - $(date +%s) % 3600))
[ "$left" -gt 90 ] || { say "waiting $left s for the next hour" && sleep "$left"; }
say "driving the scenario, seed $seed"
"$python" -B together/drive.py --base "$base" --otlp "$otlp_port" --out "$run/truth.jsonl" --seed "$seed"
together/peers.sh settle

cat >"$run/vialog.toml" <<TOML
environment = "development"
[lake]
uri = "$run/lake"
[kafka]
brokers = "127.0.0.1:$KAFKA_PORT"
group = "together"
cluster = "together"
TOML
for source in keycloak:keycloak.events cerbos:cerbos.audit opa:opa.decisions toolhive:toolhive.audit otel:otel.traces; do
  printf '[[source]]\ntopic = "%s"\nadapter = "%s"\ninstance = "%s"\n' "${source#*:}" "${source%%:*}" "${source%%:*}" >>"$run/vialog.toml"
done
if [ -n "$capture" ]; then
  KAFKA_BOOTSTRAP=127.0.0.1:$KAFKA_PORT "$python" -B together/from_kafka.py "$capture" \
    keycloak.events=keycloak cerbos.audit=cerbos opa.decisions=opa toolhive.audit=toolhive otel.traces=otel
  gzip -9nc "$run/truth.jsonl" >"$capture/together-truth.jsonl.gz"
fi
say "reading Kafka into the lake"
"$vialog" ingest --config "$run/vialog.toml" --once
"$python" -B together/check.py --vialog "$vialog" --lake "$run/lake" --truth "$run/truth.jsonl" --audit "$run"/toolhive/*.audit.jsonl
