#!/usr/bin/env bash
# Fetches and builds the peers of together.sh, once; a second run does nothing. It starts nothing.
#
#   install.sh
#
# Everything comes by name from Debian, PyPI, npm, Maven and the Go module proxy, and is kept under the user's cache folder
# by version or content. Cold, on two idle cores: about 12 minutes, of which ToolHive takes 6.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need() { command -v "$1" >/dev/null || { apt-get update -qq && apt-get install -y -qq "${@:2}"; }; }

say() { echo "install.sh: $*" >&2; }

# Makes a folder of the cache by a function that fills it: whole, or not at all.
once() { # FOLDER WHAT FUNCTION
  [ -e "$1/.done" ] && return
  say "$2"
  rm -rf "$1" && mkdir -p "$1"
  (cd "$1" && "$3" >install.log 2>&1) || { tail -n 20 "$1/install.log" >&2; die "$2: failed, see $1/install.log"; }
  touch "$1/.done"
}

python_packages() { python3 -m venv . && bin/pip install -q -r "$here/requirements.txt"; }

npm_packages() { cp "$here/package.json" . && npm install --no-audit --no-fund --silent; }

build_toolhive() { GOBIN=$PWD go install "github.com/stacklok/toolhive/cmd/thv@$toolhive_version"; }

build_opa() { GOBIN=$PWD go install "github.com/open-policy-agent/opa@$opa_version"; }

build_collector() {
  GOBIN=$PWD go install "go.opentelemetry.io/collector/cmd/builder@$collector_version"
  sed "s|^dist:|dist:\n  output_path: $PWD/build|" "$here/collector-builder.yaml" >builder.yaml
  ./builder --config builder.yaml
  mv build/otelcol otelcol && rm -rf build builder
}

fetch_keycloak() {
  mvn -B -q dependency:copy -Dmdep.useBaseVersion=true "-DoutputDirectory=$PWD" \
    "-Dartifact=org.keycloak:keycloak-quarkus-dist:$keycloak_version:zip"
  python3 -m zipfile -e "keycloak-quarkus-dist-$keycloak_version.zip" .
  rm "keycloak-quarkus-dist-$keycloak_version.zip"
  mv "keycloak-$keycloak_version"/* . && rm -rf "keycloak-$keycloak_version"
  bash bin/kc.sh build --db=dev-file # so that a start takes seconds
}

need java default-jdk-headless
need mvn maven
need python3 python3 python3-venv
need npm npm
need curl curl
need go golang-go # from 1.21 on it fetches the Go that a module asks for
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "Python 3.11 or newer is needed"
go version | grep -qE 'go1\.(2[1-9]|[3-9][0-9])' || die "Go 1.21 or newer is needed"

once "$python_home" "Python packages" python_packages
once "$npm_home" "an MCP server and Cerbos, from npm" npm_packages
once "$keycloak" "Keycloak $keycloak_version (170 MB)" fetch_keycloak
once "$(dirname "$opa")" "building OPA $opa_version (2 minutes)" build_opa
once "$(dirname "$collector")" "building the OpenTelemetry collector $collector_version (2 minutes)" build_collector
once "$(dirname "$thv")" "building ToolHive $toolhive_version (6 minutes)" build_toolhive
