//! The configuration file: read raw, checked once, passed on by hand.
//!
//! Unknown keys are refused, durations are written `"10s"`, sizes `"64MiB"`. `vialog.toml` at the top of the
//! repository is the commented default file.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use detector::parameters::{Overrides, Parameters};
use ingest::Feed;
use ingest::WorkerConfig;
use ingest::assignment::FIXED;
use ingest::flush::FlushPolicy;
use ingest::gap::OnGap;
use lake::LakeAt;
use schemas::adapters::Adapter;
use schemas::decode::{DEFAULT_TENANT, Source};
use schemas::mapping::Mapping;
use schemas::privacy::Privacy;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    environment: String,
    lake: RawLake,
    kafka: Option<RawKafka>,
    #[serde(default)]
    ingest: RawIngest,
    #[serde(default)]
    detector: RawDetector,
    privacy: Option<RawPrivacy>,
    #[serde(default)]
    source: Vec<RawSource>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDetector {
    inventory: Option<std::path::PathBuf>,
    zone: Option<String>,
    rules: Option<std::path::PathBuf>,
    /// By name of the rule.
    #[serde(default)]
    parameters: BTreeMap<String, Parameters>,
    /// By tenant and name of the rule.
    #[serde(default)]
    tenant_parameters: BTreeMap<String, BTreeMap<String, Parameters>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLake {
    uri: String,
    key_file: Option<std::path::PathBuf>,
    #[serde(default)]
    properties: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKafka {
    brokers: String,
    #[serde(default = "default_group")]
    group: String,
    #[serde(default = "default_cluster")]
    cluster: String,
    #[serde(default)]
    properties: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawIngest {
    flush_age: Option<String>,
    flush_size: Option<String>,
    #[serde(default)]
    on_gap: RawOnGap,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawOnGap {
    #[default]
    Stop,
    Continue,
}

impl From<RawOnGap> for OnGap {
    fn from(raw: RawOnGap) -> Self {
        match raw {
            RawOnGap::Stop => Self::Stop,
            RawOnGap::Continue => Self::Continue,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPrivacy {
    kinds: Option<Vec<String>>,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    paths: Vec<String>,
    #[serde(default)]
    keep: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSource {
    topic: String,
    adapter: Option<String>,
    mapping: Option<std::path::PathBuf>,
    tenant: Option<String>,
    instance: Option<String>,
    incarnation: Option<String>,
}

fn default_group() -> String {
    "vialog".into()
}

fn default_cluster() -> String {
    "main".into()
}

/// A configuration that was checked.
#[derive(Debug)]
pub(crate) struct Config {
    /// Environment of the lake and of everything written to it.
    pub(crate) environment: String,
    /// Where the lake is.
    pub(crate) lake: LakeAt,
    /// The ingest worker, when `[kafka]` is there.
    pub(crate) worker: Option<WorkerConfig>,
    /// What personal data is taken out; of every source, and of what is imported.
    pub(crate) privacy: Privacy,
    /// Folder of what is known of identities.
    pub(crate) inventory: Option<std::path::PathBuf>,
    /// Zone of whoever is not listed there.
    pub(crate) zone: Option<String>,
    /// Folder of further rules.
    pub(crate) rules: Option<std::path::PathBuf>,
    /// Parameters of rules that differ from the usual.
    pub(crate) overrides: Overrides,
}

impl Config {
    /// Reads and checks a file.
    pub(crate) fn read(path: &str) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read the configuration `{path}`"))?;
        let mut config = Self::parse(&text).with_context(|| format!("in `{path}`"))?;
        let kafka = config.worker.iter_mut().map(|worker| &mut worker.properties);
        std::iter::once(&mut config.lake.properties).chain(kafka).try_for_each(resolve).with_context(|| format!("in `{path}`"))?;
        Ok(config)
    }

    /// Checks a text.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let raw: RawConfig = toml::from_str(text)?;
        environment(&raw.environment)?;
        if let Some(fault) = raw.detector.zone.as_deref().and_then(detector::inventory::zone_fault) {
            bail!("[detector] zone: {fault}");
        }
        for name in raw.detector.tenant_parameters.keys() {
            tenant(name).context("[detector.tenant_parameters]")?;
        }
        let privacy = privacy(raw.privacy.unwrap_or_default()).context("[privacy]")?;
        let whose = (raw.environment.as_str(), &privacy);
        let feeds = raw.source.iter().map(|source| feed(source, whose)).collect::<Result<Vec<_>>>()?;
        let flush = flush(&raw.ingest)?;
        let set = |kafka: &RawKafka| FIXED.iter().map(|(key, _)| *key).find(|key| kafka.properties.contains_key(*key));
        if let Some(key) = raw.kafka.as_ref().and_then(set) {
            bail!("[kafka.properties] sets `{key}`, which exactly-once ingestion depends on; remove it");
        }
        refuse_secrets("[lake.properties]", &raw.lake.properties)?;
        refuse_secrets("[kafka.properties]", raw.kafka.as_ref().map_or(&BTreeMap::new(), |kafka| &kafka.properties))?;
        let worker = raw.kafka.map(|kafka| WorkerConfig {
            brokers: kafka.brokers,
            group: kafka.group,
            cluster: kafka.cluster,
            properties: kafka.properties,
            feeds,
            flush,
            on_gap: raw.ingest.on_gap.into(),
            once: false,
        });
        Ok(Self {
            environment: raw.environment,
            lake: LakeAt { uri: raw.lake.uri, key_file: raw.lake.key_file, properties: raw.lake.properties },
            worker,
            privacy,
            inventory: raw.detector.inventory,
            zone: raw.detector.zone,
            rules: raw.detector.rules,
            overrides: Overrides { all: raw.detector.parameters, tenants: raw.detector.tenant_parameters },
        })
    }
}

/// Puts what `file:` and `env:` refer to in their place.
fn resolve(properties: &mut BTreeMap<String, String>) -> Result<()> {
    for (key, value) in properties {
        if let Some(path) = value.strip_prefix("file:") {
            let text = std::fs::read_to_string(path).with_context(|| format!("`{key}`: cannot read `{path}`"))?;
            *value = text.trim_end_matches(['\r', '\n']).to_owned();
        } else if let Some(name) = value.strip_prefix("env:") {
            *value = std::env::var(name).with_context(|| format!("`{key}`: the variable `{name}` is not set"))?;
        }
    }
    Ok(())
}

/// A secret stands in no configuration.
fn refuse_secrets(section: &str, properties: &BTreeMap<String, String>) -> Result<()> {
    let is_reference = |value: &str| value.starts_with("file:") || value.starts_with("env:");
    match properties.iter().find(|(key, value)| SECRET_PROPERTIES.iter().any(|part| key.contains(part)) && !is_reference(value)) {
        Some((key, _)) => bail!("{section} `{key}` is a secret: refer to it, as \"file:/path\" or \"env:NAME\""),
        None => Ok(()),
    }
}

/// What the name of a property that is a secret contains.
const SECRET_PROPERTIES: &[&str] = &["secret", "password", "session_token", "key.pem"];

/// Refuses a name that is no environment.
pub(crate) fn environment(name: &str) -> Result<String, anyhow::Error> {
    if !matches!(name, "development" | "staging" | "production") {
        bail!("environment = \"{name}\": use development, staging or production");
    }
    Ok(name.to_owned())
}

/// Most bytes of the name of a tenant.
const MAX_TENANT: usize = 64;

/// Refuses a name that is no tenant: two that look alike would be two tenants, and nobody would see why.
pub(crate) fn tenant(name: &str) -> Result<String, anyhow::Error> {
    let is_plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-:@/".contains(&b));
    if name.is_empty() || name.len() > MAX_TENANT || !is_plain {
        bail!("tenant = \"{}\": use 1 to {MAX_TENANT} of the letters a-z, A-Z, 0-9 and . _ - : @ /", name.escape_debug());
    }
    Ok(name.to_owned())
}

/// The policy; what it does not say is as without one.
fn privacy(raw: RawPrivacy) -> Result<Privacy> {
    let usual = Privacy::default();
    let policy = raw.kinds.map_or(Ok(usual.clone()), |kinds| usual.with_kinds(&kinds))?;
    Ok(policy.with_names(&raw.names)?.with_paths(&raw.paths)?.keeping(&raw.keep)?)
}

fn feed(raw: &RawSource, (environment, privacy): (&str, &Privacy)) -> Result<Feed> {
    Ok(Feed {
        topic: raw.topic.clone(),
        incarnation: raw.incarnation.clone().unwrap_or_else(|| "1".into()),
        source: Source {
            adapter: match (&raw.adapter, &raw.mapping) {
                (Some(name), None) => adapter(name)?,
                (None, Some(file)) => mapping(file)?,
                _ => bail!("[[source]] `{}`: name an `adapter`, or a `mapping` file of your own", raw.topic),
            },
            tenant: raw
                .tenant
                .as_deref()
                .map_or_else(|| Ok(DEFAULT_TENANT.into()), tenant)
                .with_context(|| format!("[[source]] `{}`", raw.topic))?,
            instance: raw.instance.clone().unwrap_or_else(|| raw.topic.clone()),
            environment: environment.to_owned(),
            privacy: privacy.clone(),
        },
    })
}

/// The adapter of a name, or an error that lists them all.
pub(crate) fn adapter(name: &str) -> Result<Adapter> {
    Adapter::by_name(name).with_context(|| {
        let all = Adapter::all();
        let names: Vec<&str> = all.iter().map(Adapter::name).collect();
        format!("`{name}` is no adapter; there are: {}", names.join(", "))
    })
}

/// The adapter of a mapping file.
pub(crate) fn mapping(file: &std::path::Path) -> Result<Adapter> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read the mapping `{}`", file.display()))?;
    let mapping = Mapping::parse(&text).with_context(|| format!("in the mapping `{}`", file.display()))?;
    Ok(Adapter::Mapped(Arc::new(mapping)))
}

fn flush(raw: &RawIngest) -> Result<FlushPolicy> {
    let mut policy = FlushPolicy::default();
    if let Some(text) = &raw.flush_age {
        policy.age_ms = duration_ms(text).with_context(|| format!("flush_age = \"{text}\": write it as \"1s\" or \"500ms\""))?;
    }
    if let Some(text) = &raw.flush_size {
        policy.size_bytes = size_bytes(text).with_context(|| format!("flush_size = \"{text}\": write it as \"64MiB\""))?;
    }
    Ok(policy)
}

fn duration_ms(text: &str) -> Option<i64> {
    let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
    units.iter().find_map(|(unit, factor)| text.strip_suffix(unit)?.trim().parse::<i64>().ok()?.checked_mul(*factor))
}

fn size_bytes(text: &str) -> Option<usize> {
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1)];
    units.iter().find_map(|(unit, factor)| text.strip_suffix(unit)?.trim().parse::<usize>().ok()?.checked_mul(*factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALLEST: &str = r#"
environment = "production"
[lake]
uri = "lake"
[kafka]
brokers = "127.0.0.1:9092"
[[source]]
topic = "okta.system-log"
adapter = "okta"
"#;

    #[test]
    fn the_smallest_file_has_sane_defaults() {
        let config = Config::parse(SMALLEST).unwrap();
        let worker = config.worker.unwrap();
        assert_eq!((worker.group.as_str(), worker.flush.age_ms), ("vialog", 1_000));
        assert_eq!(worker.feeds[0].source.instance, "okta.system-log");
    }

    #[test]
    fn the_default_files_are_valid() {
        for text in [include_str!("../../vialog.toml"), include_str!("../../docker/vialog.toml")] {
            assert!(Config::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_refused_with_a_reason() {
        for (from, to, expected) in [
            ("uri = \"lake\"", "uri = \"lake\"\ncolour = 1", "unknown field"),
            ("\"production\"", "\"prod\"", "use development"),
            ("\"okta\"", "\"octa\"", "is no adapter"),
            ("[[source]]", "[kafka.properties]\n\"auto.offset.reset\" = \"latest\"\n[[source]]", "depends on"),
            ("[kafka]", "[ingest]\nflush_age = \"soon\"\n[kafka]", "write it as"),
            ("[[source]]", "[kafka.properties]\n\"sasl.password\" = \"hunter2\"\n[[source]]", "is a secret"),
            ("adapter = \"okta\"", "", "name an `adapter`"),
            ("adapter = \"okta\"", "adapter = \"okta\"\ntenant = \"\"", "use 1 to 64"),
            ("adapter = \"okta\"", "adapter = \"okta\"\ntenant = \"acme corp\"", "use 1 to 64"),
            ("[kafka]", "[detector.tenant_parameters.\"acme \".\"x/y\"]\nn = 1\n[kafka]", "use 1 to 64"),
            ("[kafka]", "[privacy]\nkinds = [\"cards\"]\n[kafka]", "is no kind; there are"),
            ("[kafka]", "[privacy]\nnames = [\"patient name\"]\n[kafka]", "is no name"),
        ] {
            let error = format!("{:#}", Config::parse(&SMALLEST.replace(from, to)).unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn durations_and_sizes_have_units() {
        assert_eq!(duration_ms("500ms"), Some(500));
        assert_eq!(duration_ms("2m"), Some(120_000));
        assert_eq!(duration_ms("10"), None);
        assert_eq!(size_bytes("64MiB"), Some(64 << 20));
    }
}
