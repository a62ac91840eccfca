//! Records for the benchmark, and the floor that it is compared with. See `tests/bench/run.sh`.
//!
//! `kafka_bench publish BROKERS TOPIC SHAPE COUNT` (or `FROM TO`) sends synthetic records of one shape; `kafka_bench floor BROKERS TOPIC`
//! reads a topic to its end and does what cannot be avoided: SHA-256 and zstd level 1 of the bytes; `drain` only reads.
//! They print `records bytes`. `write SHAPE COUNT` prints the records themselves,
//! `write SHAPE FROM TO DAYS_AGO` those of these numbers as of an earlier day; a tool call and a decision of one number have one trace. `pace BROKERS TOPIC RATE SECONDS` sends tool
//! calls of this moment at a rate, ten a second of them with a secret in an argument: what becomes of those tells how
//! long an alert takes (`tests/bench/latency.sh`).

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::time::{Duration, Instant};

use ingest::produce::{Outgoing, Producer};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (records, bytes) = match args[..] {
        ["publish", brokers, topic, shape, count] => publish(brokers, topic, shape, 0..count.parse()?)?,
        ["publish", brokers, topic, shape, from, to] => publish(brokers, topic, shape, from.parse()?..to.parse()?)?,
        ["floor", brokers, topic] => floor(brokers, topic, true)?,
        ["drain", brokers, topic] => floor(brokers, topic, false)?,
        ["write", shape, count] => return write(shape, 0..count.parse()?, 0),
        ["write", shape, from, to, days_ago] => return write(shape, from.parse()?..to.parse()?, days_ago.parse()?),
        ["pace", brokers, topic, rate, seconds] => pace(brokers, topic, rate.parse()?, seconds.parse()?)?,
        _ => return Err("publish BROKERS TOPIC SHAPE COUNT, floor BROKERS TOPIC, drain BROKERS TOPIC, pace BROKERS TOPIC RATE SECONDS, write SHAPE COUNT, or write SHAPE FROM TO DAYS_AGO".into()),
    };
    println!("{records} {bytes}");
    Ok(())
}

fn publish(brokers: &str, topic: &str, shape: &str, numbers: Range<u64>) -> Result<(u64, u64), Failure> {
    let properties = [("compression.type", "none"), ("linger.ms", "50"), ("batch.size", "1000000")];
    let producer = Producer::new(brokers, &BTreeMap::from(properties.map(|(k, v)| (k.to_owned(), v.to_owned()))))?;
    let mut bytes = 0;
    // Recent, because a broker deletes what is old by the record's own time.
    let start_ms = chrono::Utc::now().timestamp_millis() - 3_600_000;
    let first = numbers.start;
    for n in numbers {
        let at = start_ms + i64::try_from(n - first)?;
        let payload = record(shape, n, at)?;
        bytes += payload.len() as u64;
        let record =
            Outgoing { topic, partition: Some(0), timestamp_ms: Some(at), payload: Some(payload.as_bytes()), ..Outgoing::default() };
        producer.send(&record)?;
    }
    Ok((producer.flush()?, bytes))
}

/// Canaries a second.
const CANARIES: u64 = 10;

fn pace(brokers: &str, topic: &str, rate: u64, seconds: u64) -> Result<(u64, u64), Failure> {
    let producer = Producer::new(brokers, &BTreeMap::from([("linger.ms".to_owned(), "5".to_owned())]))?;
    let (start, mut bytes) = (Instant::now(), 0);
    for n in 0..rate * seconds {
        let due = Duration::from_micros(n * 1_000_000 / rate);
        if let Some(early) = due.checked_sub(start.elapsed()) {
            std::thread::sleep(early);
        }
        let at = chrono::Utc::now().timestamp_millis();
        let mut payload = record("toolhive", n, at)?;
        if n % (rate / CANARIES) == 0 {
            // An agent of its own, so that each is an alert of its own.
            let mut value: Value = serde_json::from_str(&payload)?;
            value["delegation"]["chain"][0]["sub"] = format!("canary-{n}").into();
            value["data"]["request"]["params"]["arguments"]["password"] = format!("hunter{n}").into();
            payload = value.to_string();
        }
        bytes += payload.len() as u64;
        let partition = i32::try_from(n % 2)?;
        let record = Outgoing {
            topic,
            partition: Some(partition),
            timestamp_ms: Some(at),
            payload: Some(payload.as_bytes()),
            ..Outgoing::default()
        };
        producer.send(&record)?;
    }
    Ok((producer.flush()?, bytes))
}

/// What differs from record to record, as it does in life.
struct Facts {
    n: u64,
    /// Every bit of it depends on `n`.
    mixed: u64,
    uuid: String,
    at_ms: u64,
    at: String,
    person: u64,
    agent: u64,
    traceparent: String,
}

fn record(shape: &str, n: u64, at_ms: i64) -> Result<String, Failure> {
    let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let at = chrono::DateTime::from_timestamp_millis(at_ms).ok_or("a valid time")?;
    let facts = Facts {
        n,
        mixed,
        uuid: format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            mixed >> 32,
            mixed & 0xffff,
            n & 0xfff,
            (n >> 12) & 0xfff,
            mixed & 0xffff_ffff_ffff
        ),
        at_ms: at_ms.unsigned_abs(),
        at: at.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        person: mixed % 997,
        agent: mixed % 53,
        traceparent: format!("00-{mixed:016x}{n:016x}-{:016x}-01", mixed.rotate_left(11)),
    };
    let value = match shape {
        "okta" => okta(&facts),
        "cerbos" => cerbos(&facts),
        "toolhive" => toolhive(&facts),
        "tiny" => tiny(&facts),
        other => return Err(format!("there is no shape `{other}`: okta, cerbos, toolhive, tiny").into()),
    };
    Ok(value.to_string())
}

/// Two kilobytes, as the System Log has them.
fn okta(f: &Facts) -> Value {
    let (person, mixed) = (f.person, f.mixed);
    let place = json!({ "city": "Nowhere", "state": "None", "country": "Noland", "postalCode": "00000", "geolocation": { "lat": 1.5, "lon": 2.5 } });
    let mail = format!("person{person}@example.com");
    json!({
        "actor": { "id": format!("00u{person:017}"), "type": "User", "alternateId": mail, "displayName": format!("Person {person}"), "detailEntry": null },
        "client": { "userAgent": { "rawUserAgent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 (synthetic)", "os": "Linux", "browser": "CHROME" },
            "zone": "null", "device": "Computer", "id": null, "ipAddress": format!("192.0.2.{}", person % 250), "geographicalContext": place },
        "device": null,
        "authenticationContext": { "authenticationProvider": null, "credentialProvider": null, "credentialType": null, "issuer": null, "interface": null,
            "authenticationStep": 0, "rootSessionId": format!("idx{mixed:016x}"), "externalSessionId": format!("idx{mixed:016x}") },
        "displayMessage": "User single sign on to app", "eventType": "user.authentication.sso",
        "outcome": { "result": "SUCCESS", "reason": null }, "published": f.at,
        "securityContext": { "asNumber": 64500, "asOrg": "example transit", "isp": "example", "domain": ".", "isProxy": false },
        "severity": "INFO", "legacyEventType": "app.auth.sso", "uuid": f.uuid, "version": "0",
        "debugContext": { "debugData": { "requestId": format!("{mixed:032x}"), "dtHash": format!("{:064x}", mixed.rotate_left(3)), "signOnMode": "OpenID Connect",
            "requestUri": format!("/oauth2/v1/authorize/redirect?okta_key={mixed:016x}"), "authnRequestId": format!("{:032x}", mixed.rotate_left(9)),
            "url": format!("/oauth2/v1/authorize/redirect?okta_key={mixed:016x}") } },
        "transaction": { "type": "WEB", "id": format!("{:032x}", mixed.rotate_left(17)), "detail": {} },
        "request": { "ipChain": [{ "ip": format!("192.0.2.{}", person % 250), "geographicalContext": place, "version": "V4", "source": null }] },
        "target": [
            { "id": "0oa0000000000000001", "type": "AppInstance", "alternateId": "Records", "displayName": "OpenID Connect Client", "detailEntry": { "signOnModeType": "OPENID_CONNECT" } },
            { "id": format!("0ua{person:017}"), "type": "AppUser", "alternateId": mail, "displayName": format!("Person {person}"), "detailEntry": null }
        ]
    })
}

/// A ULID: 48 bits of time and 80 of chance, five to a letter.
fn ulid(at_ms: u64, chance: u64) -> String {
    let bits = u128::from(at_ms) << 80 | u128::from(chance.rotate_left(23) & 0xffff) << 64 | u128::from(chance);
    (0..26).rev().map(|place| char::from(b"0123456789ABCDEFGHJKMNPQRSTVWXYZ"[(bits >> (5 * place) & 31) as usize])).collect()
}

fn cerbos(f: &Facts) -> Value {
    let (agent, tool) = (format!("agent-{}", f.agent), format!("tool-{}", f.mixed % 40));
    json!({
        "callId": ulid(f.at_ms, f.mixed), "timestamp": f.at,
        "peer": { "address": format!("192.0.2.{}:55804", f.person % 250), "userAgent": "gateway/1 (synthetic)", "forwardedFor": "" },
        "metadata": { "traceparent": { "values": [f.traceparent] } },
        "checkResources": {
            "inputs": [{ "requestId": f.uuid, "actions": ["call"],
                "resource": { "kind": "mcp:tool", "policyVersion": "default", "id": tool, "attr": { "server": "records", "sensitivity": "high" } },
                "principal": { "id": agent, "policyVersion": "default", "roles": ["agent"],
                    "attr": { "agent_id": agent, "job_id": "chart-review", "delegating_user": format!("user-{}", f.person) } } }],
            "outputs": [{ "requestId": f.uuid, "resourceId": tool, "actions": { "call": { "effect": "EFFECT_ALLOW", "policy": "resource.mcp_tool.vdefault" } },
                "effectiveDerivedRoles": ["owner"] }],
        },
        "policySource": { "disk": { "directory": "/policies" } }
    })
}

fn toolhive(f: &Facts) -> Value {
    let (agent, tool, mixed) = (format!("agent-{}", f.agent), format!("tool-{}", f.mixed % 40), f.mixed);
    json!({
        "time": f.at, "level": "AUDIT", "msg": "audit_event", "audit_id": f.uuid, "type": "mcp_tool_call", "logged_at": f.at, "outcome": "success", "component": "records",
        "source": { "type": "network", "value": format!("192.0.2.{}", f.person % 250), "extra": { "user_agent": "agent/1 (synthetic)" } },
        "subjects": { "user": format!("Person {}", f.person), "user_id": format!("user-{}", f.person), "client_name": agent },
        "delegation": { "chain": [{ "iss": "https://idp.example.com", "sub": agent }], "truncated": false, "omitted": 0, "malformed": false },
        "target": { "endpoint": "/mcp", "method": "tools/call", "type": "tool", "name": tool },
        "metadata": { "extra": { "duration_ms": mixed % 700, "transport": "http", "response_size_bytes": mixed % 90_000 } },
        "data": { "request": { "jsonrpc": "2.0", "id": f.n, "method": "tools/call", "params": { "name": tool,
            "arguments": { "query": format!("patient {}", mixed % 100_000), "limit": 20, "to": "team@example.com" },
            "_meta": { "traceparent": f.traceparent, "job_id": "chart-review" } } },
            "response": { "jsonrpc": "2.0", "result": { "isError": false, "structuredContent": { "row_count": mixed % 50 } } } }
    })
}

fn tiny(f: &Facts) -> Value {
    json!({
        "time": f.at, "level": "AUDIT", "msg": "audit_event", "audit_id": f.uuid, "type": "mcp_tool_call", "logged_at": f.at, "outcome": "success",
        "subjects": { "user_id": format!("user-{}", f.person) }, "target": { "method": "tools/call", "name": "search" }
    })
}

/// Records of these numbers one a line, to standard output: one a millisecond, on a day before this one.
fn write(shape: &str, numbers: Range<u64>, days_ago: i64) -> Result<(), Failure> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let start_ms = chrono::Utc::now().timestamp_millis() - 3_600_000 - days_ago * 86_400_000;
    let first = numbers.start;
    for n in numbers {
        writeln!(out, "{}", record(shape, n, start_ms + i64::try_from(n - first)?)?)?;
    }
    Ok(out.flush()?)
}

fn floor(brokers: &str, topic: &str, works: bool) -> Result<(u64, u64), Failure> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", "floor").set("enable.partition.eof", "true").set("check.crcs", "true");
    // As the worker reads: with a large queue the client rests for a second each time it is full.
    config.set("queued.max.messages.kbytes", "2048").set("fetch.queue.backoff.ms", "10").set("fetch.wait.max.ms", "100");
    let consumer: BaseConsumer = config.create()?;
    // Without it the client waits half a second before it asks who leads the partition.
    consumer.fetch_metadata(Some(topic), Duration::from_secs(10))?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Beginning)?;
    consumer.assign(&list)?;
    let (mut records, mut bytes, mut digest) = (0_u64, 0_u64, 0_u8);
    let mut compressor = zstd::stream::Encoder::new(std::io::sink(), 1)?;
    loop {
        match consumer.poll(Duration::from_secs(10)) {
            Some(Ok(message)) => {
                let payload = message.payload().unwrap_or_default();
                if works {
                    digest ^= Sha256::digest(payload)[0];
                    compressor.write_all(payload)?;
                }
                records += 1;
                bytes += payload.len() as u64;
            }
            Some(Err(KafkaError::PartitionEOF(_))) => break,
            Some(Err(error)) => return Err(error.into()),
            None => return Err("nothing came for ten seconds".into()),
        }
    }
    compressor.finish()?;
    std::hint::black_box(digest);
    Ok((records, bytes))
}
