//! Views that put together what several sources said of one act, and tell what one of them did not say.
//!
//! `observations` is a row for each call that an observer saw, `acts` one for each act with its decision and token,
//! `lost_calls` one for each call that an observer should have seen and did not, `coverage` counts by source, hour and
//! check; `incidents` puts alerts of one entity together. They are plain SQL over `events`, in the files beside this one, and cost a pass over it: bound them by time.
//! Limits: an act is matched by ids, or within 5 seconds for decisions and an hour for tokens.

use datafusion::prelude::SessionContext;

use crate::LakeError;
use crate::views::view;

/// Name and SQL, each after those that it reads.
const VIEWS: &[(&str, &str)] = &[
    ("observations", include_str!("views/observations.sql")),
    ("acts", include_str!("views/acts.sql")),
    ("lost_calls", include_str!("views/lost_calls.sql")),
    ("coverage", include_str!("views/coverage.sql")),
    ("incidents", include_str!("views/incidents.sql")),
];

/// Makes the views known to a session that has `events`.
///
/// # Errors
/// When the SQL does not fit the columns of `events`.
pub async fn register(context: &SessionContext) -> Result<(), LakeError> {
    for (name, sql) in VIEWS {
        view(context, name, sql).await?;
    }
    Ok(())
}

/// Whether SQL reads one of them: names it, and does not give the name to something of its own.
pub fn is_named_in(sql: &str) -> bool {
    let mut words = sql.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.any(|word| VIEWS.iter().any(|(name, _)| *name == word && !sql.contains(&format!("{name} AS ("))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_a_query_gives_itself_is_not_the_view() {
        assert!(is_named_in("SELECT * FROM acts WHERE true"));
        assert!(is_named_in("DESCRIBE coverage"));
        assert!(!is_named_in("WITH acts AS (SELECT 1) SELECT * FROM acts"));
        assert!(!is_named_in("SELECT contacts FROM events"));
    }
}
