//! What follows from other columns of an event: the sentence of who acted through whom, and its class in OCSF.

use crate::columns::Row;

/// `User X via Agent Y via MCP Server Z`; parts that are not known are left out.
pub(crate) fn principal_path(row: &Row) -> Option<String> {
    let user = row.delegator_name.as_ref().or(row.delegator_email.as_ref()).or(row.delegator_id.as_ref());
    let agent = row.agent_name.as_ref().or(row.agent_id.as_ref());
    let server = row.mcp_server_name.as_ref();
    let parts: Vec<String> = [("User", user), ("Agent", agent), ("MCP Server", server)]
        .into_iter()
        .filter_map(|(noun, name)| name.map(|n| format!("{noun} {n}")))
        .collect();
    (!parts.is_empty()).then(|| parts.join(" via "))
}

/// OCSF 1.8 class and activity of an event, by category.
pub(crate) fn ocsf(row: &Row) -> (Option<i32>, Option<i32>) {
    let activity = row.activity.as_deref().unwrap_or_default();
    let (class, id) = match row.category.as_deref().unwrap_or_default() {
        "authn" => (3002, if activity == "logout" { 2 } else { 1 }),
        "token" => (
            3002,
            match activity {
                "exchange" => 4,
                "refresh" => 5,
                _ => 3,
            },
        ),
        "consent" => (3003, 1),
        "admin" | "lifecycle" => (
            3004,
            match activity {
                "create" => 1,
                "update" => 3,
                "delete" => 4,
                _ => 99,
            },
        ),
        "detection" => (2004, 1),
        "discovery" => (6003, 2),
        _ => (6003, 99),
    };
    (Some(class), Some(id))
}
