#!/usr/bin/env bash
# A real S3-compatible object store (Versity S3 Gateway, posix backend) on loopback for the tests, without Docker.
#
#   s3.sh up | down
#
# `up` builds the server once (needs go and curl), starts it, creates the bucket and prints what a client needs as
# shell assignments; where it already runs, it only prints them. `down` stops it and throws its data away.
# S3_PORT (29000) is used, on 127.0.0.1 only. The server is cached under the user's cache folder by its version.
# Its data lies in TMPDIR, on a file system that must have user extended attributes (ext4, xfs, btrfs; tmpfs
# since Linux 6.6).
set -euo pipefail
version=v1.8.0 # do not go back: releases of mid-2026 and before can let two creates of one key (If-None-Match: *) succeed
port=${S3_PORT:-29000}
endpoint=http://127.0.0.1:$port
bucket=vialog-test
region=us-east-1
access_key=vialog-test
secret_key=synthetic-secret-key
cache=${XDG_CACHE_HOME:-$HOME/.cache}/vialog/versitygw-$version
run=${TMPDIR:-/tmp}/vialog-s3-$port

server() {
  [ -x "$cache/versitygw" ] && return
  mkdir -p "$cache"
  local build
  build=$(mktemp -d "$cache/build.XXXXXX")
  GOBIN=$build CGO_ENABLED=0 go install -trimpath -ldflags='-s -w' "github.com/versity/versitygw/cmd/versitygw@$version" >"$cache/build.log" 2>&1 ||
    { tail -n 20 "$cache/build.log" >&2; rm -rf "$build"; exit 1; }
  mv "$build/versitygw" "$cache/versitygw"
  rm -rf "$build"
}

# A signed request without a body; curl 7 does not send the hash of the body by itself.
signed() {
  curl -sS -o "$run/answer" -w '%{http_code}' --max-time 10 --noproxy '*' --aws-sigv4 "aws:amz:$region:s3" --user "$access_key:$secret_key" \
    -H "x-amz-content-sha256: $(printf '' | sha256sum | cut -d' ' -f1)" "$@"
}

# The pid file is trusted only while that process is still this server.
running() { [ -s "$run/pid" ] && tr '\0' ' ' 2>/dev/null <"/proc/$(cat "$run/pid")/cmdline" | grep -qF "versitygw --port 127.0.0.1:$port "; }

up() {
  server
  if ! running; then
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && { echo "s3.sh: port $port is taken by something else" >&2; exit 1; }
    rm -rf "$run"
    mkdir -p "$run/data"
    ROOT_ACCESS_KEY=$access_key ROOT_SECRET_KEY=$secret_key setsid "$cache/versitygw" --port "127.0.0.1:$port" --region "$region" --health /health --keep-alive --quiet posix "$run/data" </dev/null >"$run/s3.log" 2>&1 &
    echo $! >"$run/pid"
  fi
  for _ in $(seq 300); do
    if curl -sf -o "$run/health" --max-time 2 --noproxy '*' "$endpoint/health"; then
      create_bucket
      return
    fi
    kill -0 "$(cat "$run/pid")" 2>/dev/null || { echo "s3.sh: the server ended, see $run/s3.log" >&2; exit 1; }
    sleep 0.1
  done
  echo "s3.sh: no answer on port $port, see $run/s3.log" >&2
  exit 1
}

create_bucket() {
  local code
  code=$(signed -I "$endpoint/$bucket")
  [ "$code" = 200 ] || code=$(signed -X PUT "$endpoint/$bucket")
  [ "$code" = 200 ] || { echo "s3.sh: creating the bucket was answered $code: $(cat "$run/answer")" >&2; exit 1; }
  cat <<END
AWS_ENDPOINT_URL=$endpoint
AWS_ALLOW_HTTP=true
AWS_REGION=$region
AWS_ACCESS_KEY_ID=$access_key
AWS_SECRET_ACCESS_KEY=$secret_key
S3_BUCKET=$bucket
END
}

down() {
  if running; then
    local pid
    pid=$(cat "$run/pid")
    kill -9 "$pid" # nothing to save, the data goes away with it
    while running; do sleep 0.05; done
  fi
  rm -rf "$run"
}

case ${1:-} in
  up) up ;;
  down) down ;;
  *) sed -n '2,10p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
