//! What the tests on a real Apache Kafka share: a topic of their own, a lake, a configuration.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use serde_json::Value;

use crate::calls::{self, Producing, number_of_call};
use crate::checker::{Expected, check};
use crate::exactly_once::{GROUP_TIMES, random_below};
use crate::support::{skip, vialog, write_config};

pub(crate) const WAIT: Duration = Duration::from_secs(20);

/// Brokers of the real Kafka; `None`, and a visible skip, without one.
pub(crate) fn brokers(test: &str) -> Option<String> {
    let named = std::env::var("VIALOG_TEST_KAFKA").ok();
    if named.is_none() {
        skip(test, "no real Kafka (VIALOG_TEST_KAFKA is not set; .ci/run sets it)");
    }
    named
}

/// A topic of its own on the real Kafka, with a configuration that reads it.
pub(crate) struct Scene {
    pub(crate) brokers: String,
    pub(crate) topic: String,
    partitions: i32,
    folder: tempfile::TempDir,
    pub(crate) config: PathBuf,
}

impl Scene {
    /// `None`, and a visible skip, without a real Kafka.
    pub(crate) fn new(test: &str, partitions: i32) -> Option<Self> {
        Self::with_settings(test, partitions, &[])
    }

    pub(crate) fn with_settings(test: &str, partitions: i32, settings: &[(&str, &str)]) -> Option<Self> {
        let brokers = brokers(test)?;
        // New in every run, so that a broker may be kept.
        let topic = format!("faults.{test}.{:x}", random_below(u64::MAX));
        let folder = tempfile::tempdir().unwrap();
        let config = write_config(folder.path(), &brokers, &[(&topic, "toolhive")], GROUP_TIMES);
        let scene = Self { brokers, topic: topic.clone(), partitions, folder, config };
        scene.edit_config("group = \"test\"", &format!("group = \"{topic}\""));
        scene.create_topic(settings);
        Some(scene)
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new().set("bootstrap.servers", &self.brokers).create().unwrap()
    }

    pub(crate) fn create_topic(&self, settings: &[(&str, &str)]) {
        let topic = NewTopic::new(&self.topic, self.partitions, TopicReplication::Fixed(1));
        let topic = settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
        let options = AdminOptions::new().operation_timeout(Some(WAIT));
        let deadline = Instant::now() + WAIT;
        // A topic of this name that is being deleted refuses for a moment.
        while block_on(self.admin().create_topics([&topic], &options)).unwrap()[0].is_err() {
            assert!(Instant::now() < deadline, "the topic {} could not be created", self.topic);
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    pub(crate) fn delete_topic(&self) {
        let options = AdminOptions::new().operation_timeout(Some(WAIT));
        block_on(self.admin().delete_topics(&[&self.topic], &options)).unwrap()[0].as_ref().unwrap();
    }

    /// What retention does: everything before this offset goes.
    pub(crate) fn delete_records_before(&self, partition: i32, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, partition, Offset::Offset(offset)).unwrap();
        block_on(self.admin().delete_records(&list, &AdminOptions::new())).unwrap();
    }

    pub(crate) fn produce(&self, ids: std::ops::Range<u64>) {
        calls::produce(&self.brokers, &self.topic, self.partitions, ids);
    }

    /// A producer of calls from 0 on.
    pub(crate) fn producing(&self) -> Producing {
        Producing::start(&self.brokers, &self.topic, self.partitions, 0)
    }

    /// The file in which the broker of `tests/peers/kafka.sh` holds partition 0.
    pub(crate) fn segment(&self) -> PathBuf {
        let port = self.brokers.rsplit(':').next().unwrap();
        let data = std::env::temp_dir().join(format!("vialog-kafka-{port}/data"));
        data.join(format!("{}-0/00000000000000000000.log", self.topic))
    }

    pub(crate) fn edit_config(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(&self.config).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(&self.config, text.replace(from, to)).unwrap();
    }

    pub(crate) fn lake(&self) -> PathBuf {
        self.folder.path().join("lake")
    }

    /// What another reader of the whole topic gets: of each record the number of its call, of a tombstone none.
    pub(crate) fn readable(&self) -> Vec<Option<u64>> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("group.id", "readable")
            .set("enable.partition.eof", "true")
            .create()
            .unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, 0, Offset::Beginning).unwrap();
        consumer.assign(&list).unwrap();
        let mut calls = Vec::new();
        loop {
            match consumer.poll(WAIT).expect("an end or a record") {
                Ok(record) => calls.push(record.payload().map(number_of_call)),
                Err(KafkaError::PartitionEOF(_)) => return calls,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// `ingest --once`: exit code and summary.
    pub(crate) fn once(&self) -> (Option<i32>, Value) {
        let output = vialog(&["ingest", "--config", self.config.to_str().unwrap(), "--once", "--format", "json"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let last = text.lines().last().unwrap_or_default();
        let summary = serde_json::from_str(last).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        (output.status.code(), summary)
    }
}

/// The law for calls `0..produced`, some of them lost, beside so many rejections; and how many offsets there were in all.
pub(crate) fn check_calls(scene: &Scene, ids: impl IntoIterator<Item = u64>, (rejections, offsets): (u64, u64)) {
    check(&scene.lake(), &Expected { instance: &scene.topic, ids: ids.into_iter().collect(), rejections, offsets });
}
