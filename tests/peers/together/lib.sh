# shellcheck shell=bash disable=SC2034
# What the scripts of this folder share: where things are, ports, and processes that are started and stopped by their own
# id. Source it. It installs nothing (install.sh) and starts nothing by itself (peers.sh).

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/vialog
base=${TOGETHER_PORT:-29570} # this port and the thirteen after it, on 127.0.0.1 only
run=${TOGETHER_RUN:-${TMPDIR:-/tmp}/vialog-together-$base}

keycloak_port=$base
cerbos_port=$((base + 1)) # and +2 for gRPC
opa_port=$((base + 3))
opa_log_port=$((base + 4))
otlp_port=$((base + 5))
records_port=$((base + 6))
everything_port=$((base + 7))
toolhive_records_port=$((base + 8))
toolhive_everything_port=$((base + 9))
export KAFKA_PORT=$((base + 10)) # and +11
records_relay_port=$((base + 12))
everything_relay_port=$((base + 13))
issuer=http://127.0.0.1:$keycloak_port/realms/together

stamp() { cat "$@" | sha256sum | cut -c1-12; } # FILES: a name for what they say

toolhive_version=v0.47.0 # the newest that Go 1.26 builds
opa_version=v1.22.2
collector_version=v0.160.0
keycloak_version=26.7.3
python_home=$cache/together-python-$(stamp "$here/requirements.txt")
npm_home=$cache/together-npm-$(stamp "$here/package.json")
thv=$cache/toolhive-$toolhive_version/thv
opa=$cache/opa-$opa_version/opa
collector=$cache/otelcol-$(stamp "$here/collector-builder.yaml")/otelcol
keycloak=$cache/keycloak-$keycloak_version-optimized
python=$python_home/bin/python

die() { echo "$(basename "$0"): $*" >&2; exit 1; }

# A process is ours only while the start time that we wrote down still fits its id.
start_time() { sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

pid_of() { # NAME
  local pid started
  [ -s "$run/$1.pid" ] || return 1
  read -r pid started <"$run/$1.pid"
  [ -n "$started" ] && [ "$(start_time "$pid")" = "$started" ] && echo "$pid"
}

start() { # NAME COMMAND...: in the background, a process group of its own
  local name=$1
  shift
  setsid "$@" >>"$run/$name.log" 2>&1 </dev/null &
  echo "$! $(start_time $!)" >"$run/$name.pid"
}

stop() { # NAME: asks the group, waits 20 s (a last flush to Kafka), then insists
  local pid
  if pid=$(pid_of "$1"); then
    kill -TERM -- "-$pid" 2>/dev/null || true
    for _ in $(seq 200); do
      pid_of "$1" >/dev/null || break
      sleep 0.1
    done
    kill -KILL -- "-$pid" 2>/dev/null || true
  fi
  rm -f "$run/$1.pid"
}

taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; } # PORT

answers() { # NAME PORT [PATH]: until the port, or a page of it, answers; a minute and a half at most
  for _ in $(seq 450); do
    if [ $# -lt 3 ]; then
      taken "$2" && return
    else
      curl -fsS -o "$run/answer" --noproxy '*' --max-time 2 "http://127.0.0.1:$2$3" 2>/dev/null && return
    fi
    pid_of "$1" >/dev/null || break
    sleep 0.2
  done
  tail -n 20 "$run/$1.log" >&2
  die "$1 does not answer on port $2"
}
