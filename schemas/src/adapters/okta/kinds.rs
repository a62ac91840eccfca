//! What the 1,178 types of the System Log's catalogue (2026-06) are: a category and an activity.
//!
//! A family, the first word of a type, has a table of what is special in it; first fit wins. Everything else is what an
//! administrator or the system did, and the activity is the verb in the type's name. Lifecycle is of people, agents,
//! clients, applications, groups and devices themselves; of what belongs to one, such as a credential or a membership, it
//! is not: else a factor that is switched off would read as a person who is.

/// A pattern of a type without its family, its category and activity; an empty activity is the verb in the name. A `*`
/// at either end stands for anything.
type Kind = (&'static str, &'static str, &'static str);

const USER: &[Kind] = &[
    ("session.impersonation.initiate", "authn", "impersonate"),
    ("session.impersonation.end", "authn", "logout"),
    ("session.impersonation.*", "admin", ""),
    ("session.context.change", "detection", "detected"),
    ("session.start", "authn", "login"),
    ("session.access_admin_app", "authn", "login"),
    ("session.*", "authn", "logout"),
    ("device_session.start", "authn", "login"),
    ("device_session.end", "authn", "logout"),
    ("authentication.slo", "authn", "logout"),
    ("authentication.universal_logout*", "authn", "logout"),
    ("authentication.*", "authn", "login"),
    ("identity_verification*", "authn", "challenge"),
    ("mfa.factor.*", "lifecycle", "update"),
    ("mfa.promote_enrollment", "lifecycle", "update"),
    ("mfa.*", "authn", "mfa"),
    ("lifecycle.password_mass_expiry", "lifecycle", "update"),
    ("lifecycle.jit.*", "lifecycle", "update"),
    ("lifecycle.delete.*", "lifecycle", "delete"),
    ("lifecycle.*", "lifecycle", ""),
    ("account.lock", "lifecycle", "disable"),
    ("account.lock.limit", "detection", "detected"),
    ("account.report_suspicious*", "detection", "detected"),
    ("account.unlock_token", "authn", "challenge"),
    ("account.use_token", "authn", "challenge"),
    ("account.unlock*", "lifecycle", "enable"),
    ("account.privilege.*", "admin", ""),
    ("account.*", "lifecycle", "update"),
    ("credential.*", "lifecycle", "update"),
    ("import.password", "lifecycle", "update"),
    ("risk.*", "detection", "detected"),
];

const APP: &[Kind] = &[
    ("oauth2.*consent.grant", "consent", "grant"),
    ("*.consent.*", "consent", "revoke"),
    ("*.token.grant*", "token", "issue"),
    ("*.token.mint*", "token", "issue"),
    ("*.token.revoke*", "token", "revoke"),
    ("*.token.detect_reuse", "token", "reuse"),
    ("*.request_token", "token", "request"),
    ("oauth2.as.evaluate.claim", "token", "issue"),
    ("oauth2.*authorize*", "token", "request"),
    ("oauth2.*interact.*", "token", "request"),
    ("oauth2.signon", "authn", "login"),
    ("oauth2.invalid_client_credentials", "authn", "login"),
    ("oauth2.client_id_rate_limit_warning", "detection", "detected"),
    ("oauth2.client.lifecycle.*", "lifecycle", ""),
    ("ai_agent_provider.activate", "lifecycle", "enable"),
    ("ai_agent_provider.deactivate", "lifecycle", "disable"),
    ("ai_agent_provider.create", "lifecycle", "create"),
    ("ai_agent_provider.update", "lifecycle", "update"),
    ("ai_agent_provider.delete", "lifecycle", "delete"),
    ("realtimesync.import.details.*", "lifecycle", ""),
    ("generic.unauth_app_access_attempt", "authz_decision", "check"),
    ("inbound_del_auth.*", "authn", "login"),
    ("kerberos_rich_client.*", "authn", "login"),
    ("ad.credential.verify", "authn", "login"),
    ("office365.*authentication.failure", "authn", "login"),
    ("radius.info_access.*", "authz_decision", "check"),
    ("ad.api.user_import.account_locked", "lifecycle", "disable"),
];

const APPLICATION: &[Kind] = &[
    ("lifecycle.*", "lifecycle", ""),
    ("policy.sign_on.deny_access", "authz_decision", "check"),
    ("integration.authentication_failure", "authn", "login"),
    ("integration.rate_limit_exceeded", "detection", "detected"),
    ("user_membership.show_password", "resource_access", "read"),
];

const SYSTEM: &[Kind] = &[
    ("*limit.violation", "detection", "detected"),
    ("*limit.notification", "detection", "detected"),
    ("*limit.warning", "detection", "detected"),
    ("*limit.expiration.warning", "detection", "detected"),
    ("*limit.burst", "detection", "detected"),
    ("*limit_exceeded", "detection", "detected"),
    ("*.request_outside_allowed_range", "detection", "detected"),
    ("api_token.create", "token", "issue"),
    ("api_token.revoke", "token", "revoke"),
    ("identity_sources.user.*", "lifecycle", ""),
    ("import.user.create", "lifecycle", "create"),
    ("import.user.delete", "lifecycle", "delete"),
    ("import.user.suspend", "lifecycle", "disable"),
    ("import.user.unsuspend*", "lifecycle", "enable"),
    ("import.user.update*", "lifecycle", "update"),
    ("agent.*.create_user_JIT", "lifecycle", "create"),
    ("agent.*.unlock_user_account", "lifecycle", "enable"),
    ("agent.*_user", "lifecycle", "update"),
    ("agent.*_user_password", "lifecycle", "update"),
    ("csv.import_user", "lifecycle", "create"),
    ("iwa_agentless.auth*", "authn", "login"),
    ("iwa_agentless.redirect", "authn", "login"),
    ("iwa_agentless.user.not_found", "authn", "login"),
    ("ldapi.bind", "authn", "login"),
    ("ldapi.unbind", "authn", "logout"),
    ("ldapi.search", "resource_access", "read"),
    ("email.challenge_factor_redeemed", "authn", "mfa"),
    ("*send_*", "authn", "challenge"),
    ("email.*.sent_message", "authn", "challenge"),
];

const POLICY: &[Kind] = &[
    ("evaluate_*", "authz_decision", "check"),
    ("auth_reevaluate.*", "authz_decision", "check"),
    ("continuous_access.*", "authz_decision", "check"),
    ("entity_risk.*", "authz_decision", "check"),
];

const SECURITY: &[Kind] = &[
    ("threat.detected", "detection", "detected"),
    ("attack.*", "detection", "detected"),
    ("breached_credential.*", "detection", "detected"),
    ("request.blocked", "detection", "detected"),
    ("session.detect_client_roaming", "detection", "detected"),
    ("events.provider.receive_event", "detection", "detected"),
    ("protected_action.attempt", "authn", "challenge"),
];

/// Privileged access: people, what they sign in to, and the secrets that they see.
const PAM: &[Kind] = &[
    ("user.*", "lifecycle", ""),
    ("auth_token.issue", "token", "issue"),
    ("*_creds.issue", "token", "issue"),
    ("workload_connection.api_key.create", "token", "issue"),
    ("workload_connection.api_key.revoke", "token", "revoke"),
    ("server.ssh_login", "authn", "login"),
    ("security_policy.evaluate", "authz_decision", "check"),
    ("*.reveal", "resource_access", "read"),
    ("resource.checkout", "resource_access", "checkout"),
    ("resource.checkin.*", "resource_access", "checkin"),
];

const RESOURCE_SERVERS: &[Kind] = &[
    ("*.capability.discover", "discovery", "list"),
    ("*_server.auth_server.*", "admin", ""),
    ("*.capability.*", "admin", ""),
    ("*_server.*", "lifecycle", ""),
];

/// Agents themselves; links, connections and credentials of theirs have a word more.
const WORKLOAD_PRINCIPAL: &[Kind] = &[
    ("register", "lifecycle", "create"),
    ("activate", "lifecycle", "enable"),
    ("deactivate", "lifecycle", "disable"),
    ("update", "lifecycle", "update"),
    ("delete", "lifecycle", "delete"),
];

const FAMILIES: &[(&str, &[Kind])] = &[
    ("user", USER),
    ("app", APP),
    ("application", APPLICATION),
    ("system", SYSTEM),
    ("policy", POLICY),
    ("security", SECURITY),
    ("pam", PAM),
    ("resource_servers", RESOURCE_SERVERS),
    ("workload_principal", WORKLOAD_PRINCIPAL),
    ("group", &[("lifecycle.*", "lifecycle", ""), ("profile.update", "lifecycle", "update")]),
    ("device", &[("lifecycle.*", "lifecycle", ""), ("*.authentication", "authn", "login"), ("signals.*", "detection", "detected")]),
    ("scheduled_action", &[("user_suspension.completed", "lifecycle", "disable")]),
    ("core", &[("concurrency.*", "detection", "detected"), ("el.evaluate", "admin", "verify")]),
    ("workflows", &[("*limit.*", "detection", "detected")]),
    ("mim", &[("command.*.new", "admin", "create")]),
    ("pki", &[("cert.lifecycle.hold", "admin", "disable")]),
];

/// Words of a type's name and the activity that they are.
const VERBS: &[(&str, &[&str])] = &[
    ("create", &["create", "created", "add", "register", "enroll", "import", "assign", "generate", "provision", "publish", "clone"]),
    ("create", &["duplicate", "issue", "upload", "bootstrap", "createEnrollment", "open", "discovered", "detect"]),
    ("update", &["update", "updated", "change", "changed", "rename", "renamed", "move", "reset", "rotate", "rollover", "set", "save"]),
    ("update", &["sync", "push", "pushed", "promote", "renew", "overwrite", "upsert", "reassign", "restore", "extend", "reauthorize"]),
    (
        "update",
        &["apply", "applied", "make", "upgrade", "write", "use", "realtimesync", "match", "finalize", "capture", "decide", "remediate"],
    ),
    ("update", &["conversion", "redirection", "bulk", "migrate", "failover", "failback", "transfer", "invalidate"]),
    ("delete", &["delete", "deleted", "remove", "removed", "removal", "deprovision", "clear", "cleanup", "expire", "expired"]),
    ("enable", &["activate", "activated", "enable", "enabled", "reactivate", "unsuspend", "unlock", "resume"]),
    ("disable", &["deactivate", "deactivated", "disable", "disabled", "suspend", "lock", "locked"]),
    ("grant", &["grant", "authorize"]),
    ("revoke", &["revoke"]),
    ("approve", &["approve", "confirm", "resolve"]),
    ("deny", &["deny", "reject", "ignore", "ignored", "skip", "skipping", "unignore"]),
    ("cancel", &["cancel", "cancelled", "canceled", "close"]),
    ("request", &["request", "initiate", "initiated", "schedule", "scheduled"]),
    ("read", &["read", "view", "show", "reveal", "export", "download", "downloaded", "query", "get", "streamDevicesCSVDownload", "lookup"]),
    ("verify", &["verify", "verified", "validate", "evaluate", "evaluation", "check", "validation"]),
    ("notify", &["send", "sent", "delivery", "notify", "notification", "provide", "receive"]),
    ("connect", &["connect", "reconnect", "bind", "online"]),
    ("disconnect", &["disconnect", "offline"]),
    ("run", &["start", "started", "end", "complete", "completed", "execute", "executed", "run", "trigger", "triggered", "launch"]),
    ("run", &["processed", "processing", "action", "invoke", "call", "acknowledged", "delegated", "notnow"]),
    ("detected", &["detected", "mismatch", "violation", "warning", "warn"]),
    ("fail", &["error", "errors", "failure", "failed", "fail", "formaterror", "absent", "inaccessible"]),
];

/// Category and activity of a type.
pub(super) fn classify(event_type: &str) -> (&'static str, &'static str) {
    let (family, rest) = event_type.split_once('.').unwrap_or((event_type, ""));
    let table = FAMILIES.iter().find(|(name, _)| *name == family).map_or(&[][..], |(_, table)| table);
    let found = table.iter().find(|(pattern, ..)| fits(pattern, rest));
    match found {
        Some((_, category, "")) => (category, verb(event_type)),
        Some((_, category, activity)) => (category, activity),
        None => ("admin", verb(event_type)),
    }
}

/// Whether a text fits a pattern of literal parts between `*`.
fn fits(pattern: &str, text: &str) -> bool {
    // Most of a table differ in the first letter, and looking for a `*` costs more than that.
    let first = pattern.as_bytes().first();
    if first != Some(&b'*') && first != text.as_bytes().first() {
        return false;
    }
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| fits_after(rest, text)),
    }
}

/// As [`fits`], of what follows a `*`; the first place that fits is enough, for no pattern has two of them but at its ends.
fn fits_after(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => text.ends_with(pattern),
        Some((part, rest)) => text.find(part).is_some_and(|at| fits_after(rest, &text[at + part.len()..])),
    }
}

/// The verb of a type: it stands in the last words, mostly as the last of all.
fn verb(event_type: &str) -> &'static str {
    let of_word = |word: &str| VERBS.iter().find(|(_, words)| words.contains(&word)).map(|(activity, _)| *activity);
    let of_segment = |segment: &str| segment.split(['_', '-']).find_map(of_word);
    event_type.rsplit('.').find_map(of_segment).unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of each two first words of the catalogue and each kind in them one type, with what it is.
    const KINDS: &str = include_str!("../../../tests/fixtures/okta_kinds.txt");

    /// Types that say of nothing that it was done: a state, or a part of the product.
    const GENERIC: &[&str] = &[
        "app.radius.agent.listener.succeeded",
        "app.radius.agent.port_reaccessible",
        "app.user_management",
        "application.appuser.mapping.invalid.expression",
        "plugin.script_status",
    ];

    #[test]
    fn every_kind_of_type_in_the_catalogue_is_told() {
        for line in KINDS.lines().filter(|line| !line.starts_with('#')) {
            let [event_type, wanted @ ..] = &line.split(' ').collect::<Vec<_>>()[..] else { continue };
            let (category, activity) = classify(event_type);
            assert_eq!(wanted, [category, activity], "{event_type}");
            assert_eq!(activity == "other", GENERIC.contains(event_type), "{event_type}");
            let is_lifecycle = matches!(activity, "create" | "update" | "delete" | "enable" | "disable");
            assert!(category != "lifecycle" || is_lifecycle, "{event_type}: {activity}");
        }
    }

    #[test]
    fn a_type_that_the_catalogue_does_not_have_yet_is_told_by_its_verb() {
        assert_eq!(classify("novel.thing.deactivate"), ("admin", "disable"));
        assert_eq!(classify("novel.thing.frobnicate"), ("admin", "other"));
        assert_eq!(classify("user"), ("admin", "other"));
    }
}
