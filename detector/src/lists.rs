//! Lists that people keep for rules: what is known, allowed or expected, as CSV files of the inventory folder.
//!
//! Every list is a table of texts with the columns below and `tenant` (`default` when not given); a list without a file is
//! an empty table, and rules that need it say so or are silent. Limits: 16 MiB a file.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use schemas::decode::DEFAULT_TENANT;

use crate::{DetectorError, near};

const MAX_BYTES: u64 = 16 << 20;
/// Column that every list has.
pub(crate) const TENANT: &str = "tenant";

/// A list: its name as a table and file, its columns, and what it is for.
#[derive(Debug, Clone, Copy)]
pub struct List {
    /// `<name>.csv`, and the table's name.
    pub name: &'static str,
    /// Columns beside `tenant`.
    pub columns: &'static [&'static str],
    /// What it says, for people.
    pub about: &'static str,
}

/// All lists.
pub const LISTS: &[List] = &[
    list(
        "known_agents",
        &["agent", "owner", "class", "environment"],
        "agents, who answers for each, `interactive` or `autonomous`, where it may act",
    ),
    list("agent_tools", &["agent", "tool"], "the tools that an agent may call; agents that are not listed may call any"),
    list(
        "known_servers",
        &["server", "resource", "environment"],
        "registered MCP servers, the audience that tokens for each must have, its environment",
    ),
    list(
        "known_tools",
        &["tool", "kind"],
        "what a tool does: `read`, `sensitive_read`, `untrusted_read`, `write`, `egress` or `destructive`",
    ),
    list("known_definitions", &["server", "tool", "sha256"], "released definitions of tools"),
    list("known_policies", &["policy_version"], "released versions of policies"),
    list("known_issuers", &["issuer", "environment"], "issuers of tokens, and the environment of each"),
    list("shared_clients", &["client"], "OAuth clients that several agents rightly share"),
    list(
        "tool_limits",
        &["agent", "tool", "parameter", "most", "from_hour", "to_hour", "zone"],
        "the most that a numeric parameter may be, and the hours in which a tool may be called",
    ),
    list("approved_accounts", &["tool", "account"], "accounts that a tool may pay to or write to"),
    list("elevations", &["identity", "action", "from", "until"], "temporary rights and when they end (RFC 3339)"),
    list("absences", &["identity", "from", "to"], "days on which a person is away, both included"),
];

const fn list(name: &'static str, columns: &'static [&'static str], about: &'static str) -> List {
    List { name, columns, about }
}

/// Rows of lists, by name of the list.
pub type Lists = BTreeMap<String, Vec<BTreeMap<String, String>>>;

/// Extension of the files of an inventory.
const CSV: &str = "csv";
/// Files of an inventory that are no lists.
const OTHER_FILES: [&str; 2] = ["identities", "holidays"];

/// What is wrong with the names of the files of a folder: one that is nearly that of a list would be left unread.
pub(crate) fn misnamed(folder: &Path) -> Result<Option<String>, DetectorError> {
    let failed = |source| DetectorError::File { path: folder.display().to_string(), source };
    let mut files: Vec<_> = std::fs::read_dir(folder).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)?;
    files.sort_by_key(std::fs::DirEntry::path);
    for path in files.iter().map(std::fs::DirEntry::path) {
        let (Some(stem), Some(extension)) = (path.file_stem().and_then(|s| s.to_str()), path.extension().and_then(|e| e.to_str())) else {
            continue;
        };
        let names = || LISTS.iter().map(|list| list.name).chain(OTHER_FILES);
        if extension == CSV && names().any(|name| name == stem) {
            continue;
        }
        let is_table = extension.eq_ignore_ascii_case(CSV);
        match near::nearest(stem, names()).filter(|near| is_table || stem.eq_ignore_ascii_case(near)) {
            Some(near) => {
                return Ok(Some(format!("`{stem}.{extension}` would not be read; did you mean `{near}.{CSV}`? Rename or remove it")));
            }
            None if is_table => {
                let all: Vec<&str> = names().collect();
                tracing::warn!(file = %path.display(), "not a file of the inventory, so it is not read; there are: {}", all.join(", "));
            }
            None => {}
        }
    }
    Ok(None)
}

/// Reads the lists that are in a folder.
///
/// # Errors
/// When a file cannot be read or has a column that the list does not have.
pub(crate) fn read(folder: &Path) -> Result<Lists, DetectorError> {
    let mut lists = Lists::new();
    for list in LISTS {
        let path = folder.join(format!("{}.{CSV}", list.name));
        if path.exists() {
            lists.insert(list.name.to_owned(), rows(&path)?);
        }
    }
    match misnamed(folder)?.or_else(|| fault(&lists)) {
        Some(what) => Err(DetectorError::Inventory { path: folder.display().to_string(), what }),
        None => Ok(lists),
    }
}

/// What is wrong with lists, if anything.
pub(crate) fn fault(lists: &Lists) -> Option<String> {
    for (name, rows) in lists {
        let Some(list) = LISTS.iter().find(|l| l.name == name) else {
            let names: Vec<&str> = LISTS.iter().map(|l| l.name).collect();
            return Some(format!("there is no list `{name}`; the lists are {}", names.join(", ")));
        };
        let unknown = rows.iter().flat_map(BTreeMap::keys).find(|column| *column != TENANT && !list.columns.contains(&column.as_str()));
        if let Some(column) = unknown {
            return Some(format!("the list `{name}` has no column `{column}`; it has {}, {TENANT}", list.columns.join(", ")));
        }
    }
    None
}

/// Each list as a table: name, and columns with their values.
pub(crate) fn tables(lists: &Lists) -> Vec<(&'static str, Vec<(&'static str, ArrayRef)>)> {
    let column = |rows: &[BTreeMap<String, String>], name: &str, fallback: Option<&str>| -> ArrayRef {
        let values = rows.iter().map(|row| row.get(name).map(String::as_str).filter(|text| !text.is_empty()).or(fallback));
        Arc::new(StringArray::from(values.collect::<Vec<_>>()))
    };
    let table = |list: &List| {
        let rows = lists.get(list.name).map_or(&[][..], Vec::as_slice);
        let tenant = (TENANT, column(rows, TENANT, Some(DEFAULT_TENANT)));
        let columns = list.columns.iter().map(|name| (*name, column(rows, name, None)));
        (list.name, std::iter::once(tenant).chain(columns).collect())
    };
    LISTS.iter().map(table).collect()
}

/// Whether there is a list of this name.
pub(crate) fn is_list(name: &str) -> bool {
    LISTS.iter().any(|list| list.name == name)
}

/// The rows of a CSV file of the inventory; none when it is not there.
pub(crate) fn rows<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Vec<T>, DetectorError> {
    let failed = |source| DetectorError::File { path: path.display().to_string(), source };
    if !path.exists() {
        return Ok(Vec::new());
    }
    if std::fs::metadata(path).map_err(failed)?.len() > MAX_BYTES {
        return Err(DetectorError::Inventory { path: path.display().to_string(), what: "it is larger than 16 MiB".into() });
    }
    let mut reader = csv::Reader::from_path(path).map_err(|e| failed(std::io::Error::other(e)))?;
    let wrong = |e: csv::Error| DetectorError::Inventory { path: path.display().to_string(), what: e.to_string() };
    reader.deserialize().collect::<Result<Vec<T>, _>>().map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_that_a_list_does_not_have_is_named_with_those_that_it_has() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("agent_tools.csv"), "agent,tol\nbilling,search\n").unwrap();
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("`tol`") && error.contains("agent, tool, tenant"), "{error}");
    }

    #[test]
    fn a_file_that_is_nearly_a_list_is_refused_with_what_was_meant_and_any_other_is_left_alone() {
        for (file, meant) in [
            ("known_server.csv", Some("known_servers.csv")),
            ("Absences.csv", Some("absences.csv")),
            ("agent_tools.txt", Some("agent_tools.csv")),
            ("identity.csv", Some("identities.csv")),
            ("budget.csv", None),
            ("README.md", None),
            ("known_server.md", None),
        ] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join(file), "x\n").unwrap();
            let error = read(folder.path()).err().map(|error| error.to_string());
            assert_eq!(error.is_some(), meant.is_some(), "{file}: {error:?}");
            assert!(meant.is_none_or(|meant| error.unwrap().contains(&format!("did you mean `{meant}`"))), "{file}");
        }
    }

    #[test]
    fn every_list_is_a_table_even_without_a_file() {
        let tables = tables(&Lists::new());
        assert_eq!(tables.len(), LISTS.len());
        assert!(tables.iter().all(|(_, columns)| columns.len() >= 2 && columns[0].0 == TENANT && columns[0].1.is_empty()));
    }
}
