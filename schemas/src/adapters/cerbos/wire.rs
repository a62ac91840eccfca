//! Field numbers of cerbos.audit.v1 and cerbos.engine.v1 (Cerbos v0.55.0, Apache-2.0), for the protobuf reader.

use crate::protobuf::{Field, Wire};

const META_VALUES: &[Field] = &[Field::many(1, "values", Wire::Text)];
const PEER: &[Field] = &[
    Field::one(1, "address", Wire::Text),
    Field::one(2, "authInfo", Wire::Text),
    Field::one(3, "userAgent", Wire::Text),
    Field::one(4, "forwardedFor", Wire::Text),
];
const ANNOTATIONS: &[Field] = &[Field::one(1, "annotations", Wire::Map(&Wire::Value))];
const DISK: &[Field] = &[Field::one(1, "directory", Wire::Text)];
const GIT: &[Field] = &[Field::one(1, "repositoryUrl", Wire::Text), Field::one(2, "branch", Wire::Text), Field::one(4, "hash", Wire::Text)];
const POLICY_SOURCE: &[Field] = &[Field::one(3, "disk", Wire::Message(DISK)), Field::one(4, "git", Wire::Message(GIT))];
pub(super) const ACCESS: &[Field] = &[
    Field::one(1, "callId", Wire::Text),
    Field::one(2, "timestamp", Wire::Timestamp),
    Field::one(3, "peer", Wire::Message(PEER)),
    Field::one(4, "metadata", Wire::Map(&Wire::Message(META_VALUES))),
    Field::one(5, "method", Wire::Text),
    Field::one(6, "statusCode", Wire::Number),
    Field::one(7, "oversized", Wire::Flag),
    Field::one(8, "policySource", Wire::Message(POLICY_SOURCE)),
    Field::one(9, "requestContext", Wire::Message(ANNOTATIONS)),
];
const RESOURCE: &[Field] = &[
    Field::one(1, "kind", Wire::Text),
    Field::one(2, "policyVersion", Wire::Text),
    Field::one(3, "id", Wire::Text),
    Field::one(4, "attr", Wire::Map(&Wire::Value)),
    Field::one(5, "scope", Wire::Text),
];
const PRINCIPAL: &[Field] = &[
    Field::one(1, "id", Wire::Text),
    Field::one(2, "policyVersion", Wire::Text),
    Field::many(3, "roles", Wire::Text),
    Field::one(4, "attr", Wire::Map(&Wire::Value)),
    Field::one(5, "scope", Wire::Text),
];
const JWT: &[Field] = &[Field::one(1, "claims", Wire::Map(&Wire::Value))];
const AUX_DATA: &[Field] = &[Field::one(1, "jwt", Wire::Map(&Wire::Value)), Field::one(2, "jwts", Wire::Map(&Wire::Message(JWT)))];
const CHECK_INPUT: &[Field] = &[
    Field::one(1, "requestId", Wire::Text),
    Field::one(2, "resource", Wire::Message(RESOURCE)),
    Field::one(3, "principal", Wire::Message(PRINCIPAL)),
    Field::many(4, "actions", Wire::Text),
    Field::one(5, "auxData", Wire::Message(AUX_DATA)),
];
const EFFECTS: &[&str] = &["EFFECT_UNSPECIFIED", "EFFECT_ALLOW", "EFFECT_DENY", "EFFECT_NO_MATCH"];
const ACTION_EFFECT: &[Field] =
    &[Field::one(1, "effect", Wire::Enum(EFFECTS)), Field::one(2, "policy", Wire::Text), Field::one(3, "scope", Wire::Text)];
const CEL_ERROR: &[Field] = &[Field::one(1, "expression", Wire::Text), Field::one(2, "message", Wire::Text)];
const EVALUATION_ERROR: &[Field] = &[Field::one(1, "celError", Wire::Message(CEL_ERROR))];
const SCHEMA_SOURCES: &[&str] = &["SOURCE_UNSPECIFIED", "SOURCE_PRINCIPAL", "SOURCE_RESOURCE"];
const VALIDATION_ERROR: &[Field] =
    &[Field::one(1, "path", Wire::Text), Field::one(2, "message", Wire::Text), Field::one(3, "source", Wire::Enum(SCHEMA_SOURCES))];
const OUTPUT_ENTRY: &[Field] = &[
    Field::one(1, "src", Wire::Text),
    Field::one(2, "val", Wire::Value),
    Field::one(3, "action", Wire::Text),
    Field::one(4, "error", Wire::Text),
];
const CHECK_OUTPUT: &[Field] = &[
    Field::one(1, "requestId", Wire::Text),
    Field::one(2, "resourceId", Wire::Text),
    Field::one(3, "actions", Wire::Map(&Wire::Message(ACTION_EFFECT))),
    Field::many(4, "effectiveDerivedRoles", Wire::Text),
    Field::many(5, "validationErrors", Wire::Message(VALIDATION_ERROR)),
    Field::many(6, "outputs", Wire::Message(OUTPUT_ENTRY)),
    Field::many(7, "evaluationErrors", Wire::Message(EVALUATION_ERROR)),
];
const CHECK_RESOURCES: &[Field] = &[
    Field::many(1, "inputs", Wire::Message(CHECK_INPUT)),
    Field::many(2, "outputs", Wire::Message(CHECK_OUTPUT)),
    Field::one(3, "error", Wire::Text),
];
const PLAN_RESOURCE: &[Field] =
    &[Field::one(1, "kind", Wire::Text), Field::one(2, "attr", Wire::Map(&Wire::Value)), Field::one(4, "scope", Wire::Text)];
const PLAN_INPUT: &[Field] = &[
    Field::one(1, "requestId", Wire::Text),
    Field::one(2, "action", Wire::Text),
    Field::one(3, "principal", Wire::Message(PRINCIPAL)),
    Field::one(4, "resource", Wire::Message(PLAN_RESOURCE)),
    Field::one(5, "auxData", Wire::Message(AUX_DATA)),
    Field::many(7, "actions", Wire::Text),
];
const PLAN_KINDS: &[&str] = &["KIND_UNSPECIFIED", "KIND_ALWAYS_ALLOWED", "KIND_ALWAYS_DENIED", "KIND_CONDITIONAL"];
const PLAN_FILTER: &[Field] = &[Field::one(1, "kind", Wire::Enum(PLAN_KINDS))];
const PLAN_OUTPUT: &[Field] = &[
    Field::one(1, "requestId", Wire::Text),
    Field::one(6, "filter", Wire::Message(PLAN_FILTER)),
    Field::one(7, "filterDebug", Wire::Text),
    Field::many(8, "validationErrors", Wire::Message(VALIDATION_ERROR)),
    Field::many(11, "evaluationErrors", Wire::Message(EVALUATION_ERROR)),
];
const PLAN_RESOURCES: &[Field] = &[
    Field::one(1, "input", Wire::Message(PLAN_INPUT)),
    Field::one(2, "output", Wire::Message(PLAN_OUTPUT)),
    Field::one(3, "error", Wire::Text),
];
pub(super) const DECISION: &[Field] = &[
    Field::one(1, "callId", Wire::Text),
    Field::one(2, "timestamp", Wire::Timestamp),
    Field::one(3, "peer", Wire::Message(PEER)),
    Field::one(6, "error", Wire::Text),
    Field::one(7, "checkResources", Wire::Message(CHECK_RESOURCES)),
    Field::one(8, "planResources", Wire::Message(PLAN_RESOURCES)),
    Field::one(15, "metadata", Wire::Map(&Wire::Message(META_VALUES))),
    Field::one(17, "oversized", Wire::Flag),
    Field::one(18, "policySource", Wire::Message(POLICY_SOURCE)),
    Field::one(19, "requestContext", Wire::Message(ANNOTATIONS)),
];
