#!/usr/bin/env bash
# A real single-node Apache Kafka (KRaft) on loopback for the tests, without Docker.
#
#   kafka.sh up | down | create TOPIC PARTITIONS | stop | start
#
# `stop` kills the broker (SIGKILL) and keeps its data; `start` brings it back.
# KAFKA_PORT (29092) and KAFKA_PORT+1 are used. Jars are cached under the user's cache folder by the content
# of kafka-pom.xml; data is thrown away on `down`.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
port=${KAFKA_PORT:-29092}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/vialog/kafka-$(sha256sum "$here/kafka-pom.xml" | cut -c1-12)
run=${TMPDIR:-/tmp}/vialog-kafka-$port

jars() {
  [ -e "$cache/.done" ] && return
  mkdir -p "$cache"
  mvn -B -q -f "$here/kafka-pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$cache" >&2
  touch "$cache/.done"
}

java_kafka() { java -Xmx512m -XX:+UseSerialGC -cp "$cache/*" "$@"; }

up() {
  jars
  rm -rf "$run"
  mkdir -p "$run"
  cat >"$run/server.properties" <<EOF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$((port + 1))
controller.listener.names=CONTROLLER
listeners=PLAIN://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))
advertised.listeners=PLAIN://127.0.0.1:$port
listener.security.protocol.map=PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAIN
log.dirs=$run/data
auto.create.topics.enable=false
message.max.bytes=33554432
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
EOF
  java_kafka kafka.tools.StorageTool format -t "$(head -c 16 /dev/urandom | base64 | tr '+/' 'AB' | tr -d '=')" -c "$run/server.properties" >"$run/format.log" 2>&1
  start
}

start() {
  setsid java -Xmx512m -XX:+UseSerialGC -cp "$cache/*" kafka.Kafka "$run/server.properties" </dev/null >>"$run/kafka.log" 2>&1 &
  echo $! >"$run/pid"
  for _ in $(seq 240); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && return
    kill -0 "$(cat "$run/pid")" 2>/dev/null || { echo "kafka.sh: the broker ended, see $run/kafka.log" >&2; exit 1; }
    sleep 0.5
  done
  echo "kafka.sh: no answer on port $port, see $run/kafka.log" >&2
  exit 1
}

case ${1:-} in
  up) up ;;
  start) start ;;
  stop) kill -9 "$(cat "$run/pid")" && while kill -0 "$(cat "$run/pid")" 2>/dev/null; do sleep 0.1; done ;;
  down) [ -s "$run/pid" ] && kill "$(cat "$run/pid")" 2>/dev/null || true; rm -rf "$run" ;;
  create) java_kafka org.apache.kafka.tools.TopicCommand --bootstrap-server "127.0.0.1:$port" --create --if-not-exists --topic "$2" --partitions "$3" >/dev/null ;;
  *) sed -n '2,10p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
