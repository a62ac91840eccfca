//! What people say about identities: zone, country, peer group, and the holidays of each country.
//!
//! An inventory is a folder with `identities.csv` (`identity,zone,country,peer_group[,tenant]`) and `holidays.csv`
//! (`country,day`), and the [`lists`]; any may be missing. An identity is written as baselines write it: `user:<id>` or `agent:<id>`.
//! Who is not listed is taken to live in the default zone, without holidays. Limits: 16 MiB a file.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Date32Array, RecordBatch, StringArray};
use arrow::datatypes::{Field, Schema};
use chrono::NaiveDate;
use chrono_tz::Tz;
use datafusion::prelude::SessionContext;
use lake::views;
use schemas::decode::DEFAULT_TENANT;
use sha2::{Digest, Sha256};

use crate::DetectorError;
use crate::lists::{self, Lists, rows};

/// One identity.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// `user:<id>` or `agent:<id>`.
    pub identity: String,
    /// IANA zone.
    pub zone: Option<String>,
    /// Country, as `holidays.csv` names it.
    pub country: Option<String>,
    /// Who works alike.
    pub peer_group: Option<String>,
    /// Tenant; `default` when not given.
    pub tenant: Option<String>,
}

/// A day off.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holiday {
    /// Country.
    pub country: String,
    /// Day.
    pub day: NaiveDate,
}

/// What is known of identities.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// Zone of whoever is not listed; UTC when not given.
    pub default_zone: Option<String>,
    /// Identities.
    pub identities: Vec<Identity>,
    /// Holidays.
    pub holidays: Vec<Holiday>,
    /// What is known, allowed or expected.
    pub lists: Lists,
}

impl Inventory {
    /// Reads a folder.
    ///
    /// # Errors
    /// When a file cannot be read, a column is wrong or a zone does not exist.
    pub fn read(folder: &Path, default_zone: Option<String>) -> Result<Self, DetectorError> {
        let identities = rows(&folder.join("identities.csv"))?;
        let holidays = rows(&folder.join("holidays.csv"))?;
        let inventory = Self { default_zone, identities, holidays, lists: lists::read(folder)? };
        match inventory.fault() {
            Some(what) => Err(DetectorError::Inventory { path: folder.display().to_string(), what }),
            None => Ok(inventory),
        }
    }

    /// Nothing but a default zone.
    ///
    /// # Errors
    /// When the zone does not exist.
    pub fn of_zone(default_zone: Option<String>) -> Result<Self, DetectorError> {
        match default_zone.as_deref().and_then(zone_fault) {
            Some(what) => Err(DetectorError::Inventory { path: "the default zone".into(), what }),
            None => Ok(Self { default_zone, ..Self::default() }),
        }
    }

    fn fault(&self) -> Option<String> {
        let zones = self.identities.iter().filter_map(|i| i.zone.as_deref()).filter(|z| !z.is_empty());
        zones.chain(self.default_zone.as_deref()).find_map(zone_fault)
    }

    /// Hash of everything that is known: alerts name it, because they depend on it.
    pub fn sha256(&self) -> String {
        let text = format!("{:?} {:?} {:?} {:?}", self.default_zone, self.identities, self.holidays, self.lists);
        schemas::keys::hex(&Sha256::digest(text)[..16])
    }

    /// Makes `identities`, `holidays` and `defaults` known to a session.
    pub(crate) fn register(&self, context: &SessionContext) -> Result<(), DetectorError> {
        // A double entry would double every act in a join: the last one counts.
        let by_key: BTreeMap<(&str, &str), &Identity> =
            self.identities.iter().map(|i| ((i.tenant.as_deref().unwrap_or(DEFAULT_TENANT), i.identity.as_str()), i)).collect();
        let texts = |values: Vec<Option<&str>>| -> ArrayRef { Arc::new(StringArray::from(values)) };
        register(
            context,
            "identities",
            vec![
                ("tenant", texts(by_key.keys().map(|(tenant, _)| Some(*tenant)).collect())),
                ("identity", texts(by_key.keys().map(|(_, identity)| Some(*identity)).collect())),
                ("zone", texts(by_key.values().map(|i| i.zone.as_deref().filter(|z| !z.is_empty())).collect())),
                ("country", texts(by_key.values().map(|i| i.country.as_deref().filter(|c| !c.is_empty())).collect())),
                ("peer_group", texts(by_key.values().map(|i| i.peer_group.as_deref().filter(|g| !g.is_empty())).collect())),
            ],
        )?;
        let days: BTreeMap<(&str, NaiveDate), ()> = self.holidays.iter().map(|h| ((h.country.as_str(), h.day), ())).collect();
        let numbers = days.keys().map(|(_, day)| i32::try_from((*day - NaiveDate::default()).num_days()).unwrap_or(0));
        register(
            context,
            "holidays",
            vec![
                ("country", texts(days.keys().map(|(country, _)| Some(*country)).collect())),
                ("day", Arc::new(Date32Array::from_iter_values(numbers))),
            ],
        )?;
        for (name, columns) in lists::tables(&self.lists) {
            register(context, name, columns)?;
        }
        let (zone, known) = (self.default_zone.as_deref().unwrap_or("UTC"), self.default_zone.is_some());
        register(context, "defaults", vec![("zone", texts(vec![Some(zone)])), ("is_known", Arc::new(BooleanArray::from(vec![known])))])
    }
}

/// Whether a session has a table of this name out of the inventory.
pub(crate) fn has_table(name: &str) -> bool {
    ["identities", "holidays", "defaults"].contains(&name) || lists::is_list(name)
}

/// What is wrong with a zone.
pub fn zone_fault(zone: &str) -> Option<String> {
    Tz::from_str(zone).is_err().then(|| format!("`{zone}` is no IANA zone; write it as Europe/Berlin"))
}

fn register(context: &SessionContext, name: &str, columns: Vec<(&str, ArrayRef)>) -> Result<(), DetectorError> {
    let fields: Vec<Field> = columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let failed = |source: arrow::error::ArrowError| DetectorError::Sql { rule: name.to_owned(), source: Box::new(source.into()) };
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns.into_iter().map(|(_, column)| column).collect()).map_err(failed)?;
    Ok(views::register_rows(context, name, schema, vec![batch])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_that_does_not_exist_is_refused_with_a_reason() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("identities.csv"), "identity,zone,country,peer_group\nuser:ann,Europe/Berln,DE,\n").unwrap();
        let error = Inventory::read(folder.path(), None).unwrap_err().to_string();
        assert!(error.contains("Europe/Berln"), "{error}");
    }

    #[test]
    fn files_that_are_not_there_say_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Inventory::read(folder.path(), None).unwrap().identities.is_empty());
    }

    #[test]
    fn a_column_that_is_not_known_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("holidays.csv"), "country,day\nDE,soon\n").unwrap();
        let error = Inventory::read(folder.path(), None).unwrap_err().to_string();
        assert!(error.contains("holidays.csv") && error.contains("line: 2"), "{error}");
    }
}
