//! How an input of `decode` is made up: a line with the name of an adapter and words that stand for headers, then the
//! payload. So a seed reaches the adapter that it is for, whatever adapters come later.

use schemas::adapters::Adapter;

/// Words of the first line and the header that each stands for.
const HEADERS: &[(&str, &str, &str)] = &[
    ("protobuf", "cerbos.audit.encoding", "protobuf"),
    ("access", "cerbos.audit.kind", "access"),
    ("decision", "cerbos.audit.kind", "decision"),
];

/// Headers of a record.
pub(crate) type Headers = Vec<(String, Vec<u8>)>;

/// The adapter that a name means, headers and payload. Of a name that no adapter has its bytes choose one.
pub(crate) fn parts<'a>(bytes: &'a [u8], all: &'a [Adapter]) -> Option<(&'a Adapter, Headers, &'a [u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (line, payload) = (&bytes[..end], &bytes[end + 1..]);
    let mut words = line.split(|byte| *byte == b' ');
    let name = words.next().unwrap_or_default();
    let chosen = name.iter().map(|byte| usize::from(*byte)).sum::<usize>() % all.len();
    let adapter = all.iter().find(|adapter| adapter.name().as_bytes() == name).unwrap_or(&all[chosen]);
    let headers = words
        .filter_map(|word| HEADERS.iter().find(|(known, ..)| known.as_bytes() == word))
        .map(|(_, key, value)| ((*key).to_owned(), value.as_bytes().to_vec()));
    Some((adapter, headers.collect(), payload))
}
