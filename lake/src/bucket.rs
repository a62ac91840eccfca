//! Files in a bucket of S3-compatible storage.
//!
//! A commit needs one thing of it: a put with `If-None-Match: *` that answers 412 when the object is there (Amazon S3,
//! and what follows it since 2024). A store without it would let two writers make one version: opening a lake for
//! writing tries it out. An object is durable when its put returns.
//!
//! The lake is written by plain threads while the client wants a runtime: it has two threads of its own, and a caller
//! waits for its answer. The client repeats what failed in passing by itself.

use std::io;
use std::ops::Range;
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use tokio::runtime::{Handle, Runtime};

use crate::store::{Created, Files};

/// Threads of the client.
const THREADS: usize = 2;

/// Objects below a prefix of a bucket.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) prefix: String,
    background: Arc<Background>,
}

/// A runtime that may be dropped anywhere, also within another one.
#[derive(Debug)]
pub(crate) struct Background(Option<Runtime>);

impl Background {
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).thread_name("bucket").enable_all().build()?;
        Ok(Self(Some(runtime)))
    }

    pub(crate) fn handle(&self) -> Handle {
        self.0.as_ref().expect("the runtime goes only with its last user").handle().clone()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Bucket {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, prefix: &str, background: Background) -> Self {
        Self { store, prefix: prefix.trim_matches('/').to_owned(), background: Arc::new(background) }
    }

    /// The same bucket, further down.
    pub(crate) fn below(&self, name: &str) -> Self {
        Self { prefix: self.full(name), ..self.clone() }
    }

    /// Whether a put of an object that exists is refused.
    pub(crate) fn creates_once(&self, probe: &str) -> io::Result<bool> {
        self.create(probe, b"")?;
        Ok(self.create(probe, b"")? == Created::Existed)
    }

    fn full(&self, name: &str) -> String {
        [self.prefix.as_str(), name].iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join("/")
    }

    /// Waits for what the client does, without being in its runtime.
    fn wait<T: Send + 'static>(&self, work: impl Future<Output = object_store::Result<T>> + Send + 'static) -> object_store::Result<T> {
        let (done, answer) = mpsc::channel();
        // Nobody waits any more when the send fails.
        self.background.handle().spawn(async move { drop(done.send(work.await)) });
        let lost = || Error::Generic { store: "s3", source: "the request was given up".into() };
        answer.recv().unwrap_or_else(|_| Err(lost()))
    }

    fn put(&self, name: &str, bytes: &[u8], mode: PutMode) -> object_store::Result<()> {
        let (store, path, payload) =
            (Arc::clone(&self.store), Path::from(self.full(name)), PutPayload::from(Bytes::copy_from_slice(bytes)));
        self.wait(async move { store.put_opts(&path, payload, PutOptions::from(mode)).await.map(drop) })
    }
}

impl Files for Bucket {
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.put(name, bytes, PutMode::Overwrite).map_err(io_error)
    }

    fn create(&self, name: &str, bytes: &[u8]) -> io::Result<Created> {
        match self.put(name, bytes, PutMode::Create) {
            Ok(()) => Ok(Created::New),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(Created::Existed),
            Err(error) => Err(io_error(error)),
        }
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let (store, path) = (Arc::clone(&self.store), Path::from(self.full(name)));
        match self.wait(async move { store.get(&path).await?.bytes().await }) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(io_error(error)),
        }
    }

    fn read_range(&self, name: &str, range: Range<u64>) -> io::Result<Bytes> {
        let (store, path) = (Arc::clone(&self.store), Path::from(self.full(name)));
        self.wait(async move { store.get_range(&path, range).await }).map_err(io_error)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let (store, path) = (Arc::clone(&self.store), Path::from(self.full(folder)));
        let listed = self.wait(async move { store.list_with_delimiter(Some(&path)).await }).map_err(io_error)?;
        let mut names: Vec<String> = listed.objects.iter().filter_map(|object| object.location.filename().map(str::to_owned)).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn remove(&self, names: &[String]) -> io::Result<()> {
        for name in names {
            let (store, path) = (Arc::clone(&self.store), Path::from(self.full(name)));
            match self.wait(async move { store.delete(&path).await }) {
                Ok(()) | Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(io_error(error)),
            }
        }
        Ok(())
    }

    fn list_data(&self) -> io::Result<Vec<(String, i64)>> {
        let (store, root) = (Arc::clone(&self.store), Path::from(self.prefix.clone()));
        let prefix = root.clone();
        let objects = self.wait(async move { store.list(Some(&prefix)).try_collect::<Vec<_>>().await }).map_err(io_error)?;
        let relative = |path: &Path| Some(path.prefix_match(&root)?.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/"));
        let named = objects.iter().filter_map(|object| Some((relative(&object.location)?, object.last_modified.timestamp_millis())));
        Ok(named.filter(|(name, _)| !name.starts_with(crate::layout::LOG_FOLDER)).collect())
    }
}

fn io_error(error: Error) -> io::Error {
    let kind = match error {
        Error::NotFound { .. } => io::ErrorKind::NotFound,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => io::ErrorKind::PermissionDenied,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
