#!/usr/bin/env bash
# The peers of together.sh, on loopback only: a broker, an identity provider, two decision points, two MCP servers behind
# a gateway, and a collector. All of them are the real thing, all write to the one Kafka.
#
#   peers.sh up       start all, with nothing remembered from before
#   peers.sh settle   let each say its last word, and carry to Kafka what has no way of its own there
#   peers.sh down     stop all; their data stays in the run folder until the next `up`
#
# TOGETHER_PORT (29570) is the first of the ports, TOGETHER_RUN the folder of data and logs. What is missing is installed
# by install.sh. It is made for one scenario (drive.py): passwords and secrets are in realm.json.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
export KAFKA_BOOTSTRAP=127.0.0.1:$KAFKA_PORT

up_kafka() {
  "$here/../kafka.sh" up
  for topic in keycloak.events cerbos.audit opa.decisions toolhive.audit otel.traces; do
    "$here/../kafka.sh" create "$topic" 3
  done
}

up_keycloak() {
  cp -a "$keycloak" "$run/keycloak" # it writes its database beside the program
  mkdir -p "$run/keycloak/data/import" && cp "$here/realm.json" "$run/keycloak/data/import/"
  (umask 077 && head -c 12 /dev/urandom | base64 | tr '+/' 'AB' >"$run/admin-password")
  KC_BOOTSTRAP_ADMIN_USERNAME=admin KC_BOOTSTRAP_ADMIN_PASSWORD=$(cat "$run/admin-password") \
    JAVA_OPTS_KC_HEAP="-Xms64m -Xmx512m" start keycloak bash "$run/keycloak/bin/kc.sh" start --optimized --import-realm \
    --http-enabled=true --hostname-strict=false --http-host=127.0.0.1 "--http-port=$keycloak_port"
}

up_collector() {
  OTLP_PORT=$otlp_port start collector "$collector" --config "$here/collector.yaml"
  answers collector "$otlp_port"
}

up_cerbos() { # checks the tokens that it is shown against the keys of Keycloak
  cat >"$run/cerbos.yaml" <<YAML
server: {httpListenAddr: "127.0.0.1:$cerbos_port", grpcListenAddr: "127.0.0.1:$((cerbos_port + 1))"}
telemetry: {disabled: true}
storage: {driver: disk, disk: {directory: "$run/policies"}}
auxData: {jwt: {keySets: [{id: keycloak, remote: {url: "$issuer/protocol/openid-connect/certs"}}]}}
audit:
  enabled: true
  backend: kafka
  includeMetadataKeys: [traceparent, x-request-id]
  kafka: {brokers: ["$KAFKA_BOOTSTRAP"], topic: cerbos.audit, encoding: json}
YAML
  cp -r "$here/cerbos" "$run/policies" # the path goes into every record
  start cerbos "$npm_home"/node_modules/@cerbos/cerbos-*/cerbos-* server --config "$run/cerbos.yaml"
  answers cerbos "$cerbos_port" /_cerbos/health
}

up_opa() {
  start opa-log "$python" "$here/to_kafka.py" opa opa.decisions "$opa_log_port"
  answers opa-log "$opa_log_port"
  cat >"$run/opa.yaml" <<YAML
services: {log: {url: "http://127.0.0.1:$opa_log_port"}}
decision_logs:
  service: log
  request_context: {http: {headers: [traceparent, x-request-id]}}
  reporting: {min_delay_seconds: 1, max_delay_seconds: 2}
YAML
  start opa "$opa" run --server --skip-version-check --addr "127.0.0.1:$opa_port" --config-file "$run/opa.yaml" "$here/opa"
  answers opa "$opa_port" /health
}

up_servers() {
  OTEL_SERVICE_NAME=records OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:$otlp_port \
    start records "$python" "$here/records_server.py" "$records_port"
  PORT=$everything_port NODE_OPTIONS=--require=$here/loopback.cjs \
    start everything node "$npm_home/node_modules/.bin/mcp-server-everything" streamableHttp
  answers records "$records_port"
  answers everything "$everything_port"
  start relay "$python" "$here/relay.py" "$records_relay_port" "$records_port" "$everything_relay_port" "$everything_port"
  answers relay "$everything_relay_port"
}

up_toolhive() { # NAME PORT TARGET: a proxy that asks for tokens of Keycloak, decides by Cedar, and keeps what was said
  local state=$run/toolhive
  cat >"$state/$1.audit.json" <<JSON
{"enabled": true, "component": "$1", "includeRequestData": true, "includeResponseData": true, "maxDataSize": 65536,
 "logFile": "$state/$1.audit.jsonl"}
JSON
  start "toolhive-$1" env "XDG_CONFIG_HOME=$state/config" "XDG_STATE_HOME=$state/state" "XDG_DATA_HOME=$state/data" \
    "XDG_CACHE_HOME=$state/cache" "TOOLHIVE_DOCKER_SOCKET=$state/engine.sock" TOOLHIVE_RUNTIME=docker \
    TOOLHIVE_SKIP_UPDATE_CHECK=true TOOLHIVE_USAGE_METRICS_ENABLED=false \
    "$thv" run "http://127.0.0.1:$3/mcp" --name "$1" --foreground --transport streamable-http --host 127.0.0.1 --proxy-port "$2" \
    --oidc-issuer "$issuer" --oidc-audience mcp-gateway --oidc-insecure-allow-http --jwks-allow-private-ip \
    --resource-url "http://127.0.0.1:$2/mcp" --authz-config "$here/toolhive-authz.json" --audit-config "$state/$1.audit.json" \
    --otel-endpoint "127.0.0.1:$otlp_port" --otel-insecure --otel-service-name "toolhive-$1" --otel-metrics-enabled=false \
    --otel-use-legacy-attributes=false
  answers "toolhive-$1" "$2"
}

up() {
  for port in $(seq "$base" $((base + 13))); do
    taken "$port" && die "port $port is taken by something else (TOGETHER_PORT chooses others)"
  done
  rm -rf "$run" && mkdir -p "$run/toolhive"
  up_keycloak # the slowest: the others come up meanwhile
  up_kafka
  up_collector
  up_servers
  up_opa
  answers keycloak "$keycloak_port" /realms/together/.well-known/openid-configuration
  up_cerbos
  start engine "$python" "$here/engine_stub.py" "$run/toolhive/engine.sock"
  for _ in $(seq 50); do [ -S "$run/toolhive/engine.sock" ] && break; sleep 0.1; done
  up_toolhive records "$toolhive_records_port" "$records_relay_port" # one after another: they share a state folder
  up_toolhive everything "$toolhive_everything_port" "$everything_relay_port"
}

settle() {
  for name in toolhive-records toolhive-everything relay records everything opa opa-log cerbos collector; do stop "$name"; done
  "$python" "$here/to_kafka.py" lines toolhive.audit "$run"/toolhive/*.audit.jsonl
  KEYCLOAK_ADMIN_PASSWORD=$(cat "$run/admin-password") \
    "$python" "$here/to_kafka.py" keycloak keycloak.events "http://127.0.0.1:$keycloak_port" together
  stop keycloak
}

down() {
  for name in toolhive-records toolhive-everything engine relay records everything opa opa-log cerbos collector keycloak; do stop "$name"; done
  "$here/../kafka.sh" down
  for _ in $(seq 100); do taken "$KAFKA_PORT" || break; sleep 0.2; done
}

case ${1:-} in
  up) up ;;
  settle) settle ;;
  down) down ;;
  *) sed -n '2,11p' "$0" >&2; exit 2 ;;
esac
