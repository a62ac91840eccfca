//! Where a lake or a table lies: a folder, or a prefix in a bucket.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::SpawnedReqwestConnector;

use crate::bucket::{Background, Bucket};
use crate::store::{Files, Store};
use crate::{LakeError, io_error, layout};

/// What names a lake, as a user writes it.
#[derive(Debug, Clone, Default)]
pub struct LakeAt {
    /// A folder, `file://` and a folder, or `s3://bucket/prefix`.
    pub uri: String,
    /// Its key file; a lake in a folder has one beside it by default.
    pub key_file: Option<PathBuf>,
    /// How to reach a bucket, by the names that Amazon's tools use, such as `aws_endpoint`.
    pub properties: BTreeMap<String, String>,
}

impl<T: Into<String>> From<T> for LakeAt {
    fn from(uri: T) -> Self {
        Self { uri: uri.into(), ..Self::default() }
    }
}

/// A folder, or a prefix in a bucket.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    Folder(PathBuf),
    Bucket {
        /// `s3://bucket`.
        url: String,
        bucket: Bucket,
    },
}

impl Place {
    pub(crate) fn of(at: &LakeAt) -> Result<Self, LakeError> {
        match at.uri.split_once("://") {
            None => Ok(Self::Folder(std::path::absolute(&at.uri).map_err(|source| io_error("resolve", at.uri.clone(), source))?)),
            Some(("file", path)) => Ok(Self::Folder(PathBuf::from(path))),
            Some(("s3", rest)) => bucket(rest, &at.properties),
            Some((scheme, _)) => {
                Err(LakeError::Unsupported(format!("a lake on `{scheme}://` is not built; use a folder or s3://bucket/prefix")))
            }
        }
    }

    /// Its files.
    pub(crate) fn files(&self) -> Arc<dyn Files> {
        match self {
            Self::Folder(folder) => Arc::new(Store::new(folder.clone())),
            Self::Bucket { bucket, .. } => Arc::new(bucket.clone()),
        }
    }

    /// The place of a folder in it.
    pub(crate) fn below(&self, name: &str) -> Self {
        match self {
            Self::Folder(folder) => Self::Folder(folder.join(name)),
            Self::Bucket { url, bucket } => Self::Bucket { url: url.clone(), bucket: bucket.below(name) },
        }
    }

    /// A file in it, as errors name it.
    pub(crate) fn name_of(&self, name: &str) -> String {
        match self {
            Self::Folder(folder) => folder.join(name).display().to_string(),
            Self::Bucket { url, bucket } => format!("{url}/{}/{name}", bucket.prefix),
        }
    }

    /// Makes it ready to be written to.
    pub(crate) fn prepare(&self) -> Result<(), LakeError> {
        match self {
            Self::Folder(folder) => std::fs::create_dir_all(folder).map_err(|source| io_error("create", self.name_of(""), source)),
            Self::Bucket { url, bucket } => {
                let once = bucket
                    .creates_once(layout::PROBE_FILE)
                    .map_err(|source| io_error("write", self.name_of(layout::PROBE_FILE), source))?;
                let refused = || {
                    LakeError::Unsupported(format!(
                        "`{url}` overwrites what must be written once (it ignores If-None-Match); use another store"
                    ))
                };
                if once { Ok(()) } else { Err(refused()) }
            }
        }
    }

    /// The key file of a lake here.
    pub(crate) fn key_file(&self, named: Option<&Path>) -> Result<PathBuf, LakeError> {
        match (named, self) {
            (Some(file), _) => Ok(file.to_owned()),
            (None, Self::Folder(folder)) => Ok(layout::default_key_file(folder)),
            (None, Self::Bucket { .. }) => Err(LakeError::Key(
                "a lake in a bucket needs a key file outside of it: name one with --key-file or `key_file` under [lake]".into(),
            )),
        }
    }

    /// What DataFusion calls the store, and where in it this place is.
    pub(crate) fn scanned(&self) -> (ObjectStoreUrl, String) {
        match self {
            Self::Folder(folder) => (ObjectStoreUrl::local_filesystem(), folder.to_string_lossy().trim_start_matches('/').to_owned()),
            Self::Bucket { url, bucket } => {
                (ObjectStoreUrl::parse(url).expect("the address of a bucket was checked when it was opened"), bucket.prefix.clone())
            }
        }
    }

    /// Makes the store known to a session that reads from it.
    pub(crate) fn register(&self, runtime: &RuntimeEnv) {
        if let Self::Bucket { bucket, .. } = self {
            runtime.register_object_store(self.scanned().0.as_ref(), Arc::clone(&bucket.store));
        }
    }
}

fn bucket(rest: &str, properties: &BTreeMap<String, String>) -> Result<Place, LakeError> {
    let refused = |why: String| LakeError::Unsupported(format!("the lake `s3://{rest}` cannot be reached: {why}"));
    let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let mut builder = AmazonS3Builder::new().with_bucket_name(name);
    for (key, value) in properties {
        let known = AmazonS3ConfigKey::from_str(key).map_err(|_| refused(format!("there is no property `{key}`")))?;
        builder = builder.with_config(known, value);
    }
    let url = format!("s3://{name}");
    ObjectStoreUrl::parse(&url).map_err(|error| refused(error.to_string()))?;
    let background = Background::start().map_err(|error| refused(error.to_string()))?;
    // Whoever asks, requests are made by the store's own threads: a connection dies with the runtime it was made in.
    let store = builder.with_http_connector(SpawnedReqwestConnector::new(background.handle())).build();
    let bucket = Bucket::new(Arc::new(store.map_err(|error| refused(error.to_string()))?), prefix, background);
    Ok(Place::Bucket { url, bucket })
}
