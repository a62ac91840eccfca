//! A rule that fails is itself a finding: whoever relies on it has to know that it does not look any more.

use lake::alerts::Alert;
use sha2::{Digest, Sha256};

/// Under which name these alerts stand; no rule file may have it.
pub(crate) const RULE: &str = "health/rule_failed";
const VERSION: i32 = 1;
const SEVERITY: &str = "medium";

/// What is the matter with a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It failed at what is new.
    Failed,
    /// It said nothing of its canary.
    CanarySilent,
    /// It failed at its canary.
    CanaryFailed,
}

impl Trouble {
    /// The sentence, less the cause.
    fn reason(self, rule: &str) -> String {
        match self {
            Self::Failed => format!("the rule {rule} failed and found nothing in this step, which is shown to it again"),
            Self::CanarySilent => format!("the rule {rule} said nothing of its canary, so it would miss a real violation like it"),
            Self::CanaryFailed => format!("the rule {rule} failed at its canary, so it would miss a real violation like it"),
        }
    }

    fn value(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::CanarySilent => "canary silent",
            Self::CanaryFailed => "canary failed",
        }
    }

    fn expected(self) -> &'static str {
        if self == Self::Failed { "every rule runs" } else { "every rule fires at its canary" }
    }
}

/// The alert of a day about a rule; of a canary, for a tenant.
pub(crate) fn alert((rule, tenant): (&str, &str), trouble: Trouble, why: &str, now_us: i64) -> Alert {
    let day = schemas::time::day_of(now_us);
    // A failure is of the rule, whoever it is for; its id is as it always was.
    let of = if trouble == Trouble::Failed { String::new() } else { format!(" {tenant} {}", trouble.value()) };
    let id = Sha256::digest(format!("{RULE} {VERSION} {day} {rule}{of}"));
    Alert {
        alert_id: schemas::keys::hex(&id[..16]),
        rule_id: RULE.into(),
        rule_version: VERSION,
        severity: SEVERITY.into(),
        event_time: now_us,
        tenant: tenant.into(),
        entity: format!("rule:{rule}"),
        reason: format!("{}: {why}", trouble.reason(rule)),
        value: trouble.value().into(),
        expected: trouble.expected().into(),
        event_ids: Vec::new(),
        context: serde_json::json!({ "rule": rule, "why": why }).to_string(),
        status: crate::evaluate::OPEN.into(),
        detected_at: now_us,
    }
}
