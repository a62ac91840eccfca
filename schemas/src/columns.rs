//! Every column of the `events` table: its name, type, sensitivity, unit and meaning, in one place.
//!
//! The list below is the only home of a column name. From it come the Rust [`Row`] that adapters
//! fill, the Arrow schema, the builders, and `docs/events.md`. A column is added at the end of its
//! group; none is ever renamed or given another type, because old leaves commit to it by name.
//!
//! Not for: how a column is derived (the adapters), nor where it is stored (`lake`).
//!
//! Sensitivity decides two things: *sensitive* columns get a salted commitment of their own in the
//! leaf (so one can be redacted later while the leaf still verifies), and no statistics.

use crate::cell::{Cell, Field, Kind, Struct, TextMap};

/// A column as the schema, the leaf encoder and the documentation see it.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// The name in SQL, Parquet, the leaf and the documentation.
    pub name: &'static str,
    /// The type of its values.
    pub kind: Kind,
    /// Whether it may hold personal data or payload: salted in the leaf, never in statistics.
    pub sensitive: bool,
    /// Meaning, unit and which source fills it, in a sentence.
    pub doc: &'static str,
}

macro_rules! rust_type {
    (text) => { Option<String> };
    (long) => { Option<i64> };
    (int) => { Option<i32> };
    (double) => { Option<f64> };
    (flag) => { Option<bool> };
    (time) => { Option<i64> };
    (date) => { Option<i32> };
    (bytes) => { Option<Vec<u8>> };
    (texts) => { Option<Vec<String>> };
    (structs) => { Option<Vec<Struct>> };
    (map) => { Option<TextMap> };
}

macro_rules! kind_of {
    (text) => {
        Kind::Text
    };
    (long) => {
        Kind::Long
    };
    (int) => {
        Kind::Int
    };
    (double) => {
        Kind::Double
    };
    (flag) => {
        Kind::Flag
    };
    (time) => {
        Kind::Time
    };
    (date) => {
        Kind::Date
    };
    (bytes) => {
        Kind::Bytes
    };
    (texts) => {
        Kind::Texts
    };
    (map) => {
        Kind::Map
    };
    (structs $fields:expr) => {
        Kind::Structs($fields)
    };
}

macro_rules! columns {
    ($($class:ident $kind:ident $name:ident $([$fields:expr])? : $doc:literal;)*) => {
        /// One row of `events`: an event or a rejection. Times are microseconds since 1970 in UTC.
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct Row {
            $(#[doc = $doc] pub $name: rust_type!($kind),)*
        }

        /// All columns in table order.
        pub const COLUMNS: &[Column] = &[
            $(Column {
                name: stringify!($name),
                kind: kind_of!($kind $($fields)?),
                sensitive: columns!(@class $class),
                doc: $doc,
            },)*
        ];

        impl Row {
            /// Calls `f` with each value and the place of its column in [`COLUMNS`], in that order; most columns of a row have none.
            pub fn for_each_value<'a>(&'a self, mut f: impl FnMut(usize, Cell<'a>)) {
                $(if let Some(value) = &self.$name {
                    f(ColumnId::$name as usize, Cell::from(value));
                })*
            }
        }

        impl Row {
            /// Sets a column from a JSON value; false when there is no such column or the value does not fit.
            pub fn set(&mut self, name: &str, value: &crate::json::Json<'_>) -> bool {
                match name {
                    $(stringify!($name) => {
                        self.$name = crate::cell::FromJson::from_json(value);
                        self.$name.is_some()
                    })*
                    _ => false,
                }
            }
        }

        /// A column by its place, where one is chosen at run time.
        #[allow(non_camel_case_types, missing_docs)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum ColumnId {
            $($name,)*
        }

        impl ColumnId {
            /// All columns in table order.
            pub const ALL: &[ColumnId] = &[$(ColumnId::$name,)*];

            /// What is known of the column.
            pub fn column(self) -> &'static Column {
                &COLUMNS[self as usize]
            }

            /// The column of a name.
            pub fn by_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|id| id.column().name == name)
            }
        }

        impl Row {
            /// Sets a column; false when the value is of another type.
            pub fn put(&mut self, id: ColumnId, value: crate::cell::Value) -> bool {
                match id {
                    $(ColumnId::$name => {
                        self.$name = crate::cell::FromValue::from_value(value);
                        self.$name.is_some()
                    })*
                }
            }
        }

        /// Column names as constants, for code that names one.
        #[allow(non_upper_case_globals, missing_docs)]
        pub mod name {
            $(pub const $name: &str = stringify!($name);)*
        }
    };
    (@class plain) => { false };
    (@class sensitive) => { true };
}

/// Fields of one hop of the delegation chain, outermost (presenting) party first.
pub const CHAIN_FIELDS: &[Field] =
    &[Field::int("pos"), Field::text("issuer"), Field::text("sub"), Field::text("client_id"), Field::text("profile")];
/// Fields of one resource that an act touched.
pub const RESOURCE_FIELDS: &[Field] =
    &[Field::text("type"), Field::text("id"), Field::text("uri"), Field::text("name"), Field::text("role")];
/// Fields of one policy that contributed to a decision.
pub const POLICY_FIELDS: &[Field] = &[Field::text("id"), Field::text("version"), Field::text("effect")];
/// Fields of one typed destination found in the arguments.
pub const DEST_FIELDS: &[Field] = &[Field::text("type"), Field::text("value")];
/// Fields of one Kafka header; a value that is not UTF-8 is written `hex:<lowercase hex>`.
pub const HEADER_FIELDS: &[Field] = &[Field::text("key"), Field::text("value")];

columns! {
    // Partition and identity.
    plain text row_kind: "`event` or `rejection`. Partition column. Set by ingest.";
    plain date ingest_date: "UTC day of `ingest_time`. Partition column. Set by ingest.";
    plain text event_id: "Stable id of the event, `vendor:instance:kind:native#path`, or a keyed hash where the source has no id. Set by the adapter; NULL for rejections.";
    plain text event_id_kind: "`native`, `derived` or `content_hash`: how `event_id` was made.";
    plain text parent_event_id: "Id of the record-level event that this one was exploded from (Cerbos call, OPA upload).";
    plain text explode_path: "Which part of the record this event is, such as `input/0/approve`.";
    plain text logical_call_id: "One id for the retries and continuations of one call, where the source shows it.";
    plain int revision: "0 for the first content seen under an id; higher for changed content under the same id.";
    plain int schema_version: "Version of this schema, 1.";
    plain text tenant: "Tenant that the `[[source]]` belongs to; `default` when it names none.";
    plain text batch_id: "The commit batch that this row belongs to.";
    // Provenance.
    plain text stream: "`kafka:<cluster>/<topic>`, `file:<keyed hash>` or `self:<instance>`.";
    plain text incarnation: "Which life of the stream: a topic made anew gets another one.";
    plain int partition: "Partition within the stream; 0 for files.";
    plain long offset: "Offset of the record in its partition; the record's ordinal for files.";
    plain int record_index: "Running ordinal over all rows of one record, from 0.";
    plain text source_kind: "`mcp_gateway`, `mcp_wire`, `agent_runtime`, `idp`, `pdp` or `cloud`.";
    plain text source_vendor: "Who makes the source, such as `okta`.";
    plain text source_product: "The product, such as `system_log`.";
    plain text source_instance: "The `instance` of the `[[source]]`: which of several installations.";
    plain text source_event_type: "The source's own name of the event type.";
    plain text source_event_version: "The source's own version of that type.";
    plain text adapter: "Adapter that decoded the record.";
    plain text adapter_version: "Version of that adapter.";
    plain text vantage: "`gateway_observed`, `idp_issued`, `pdp_decided` or `client_reported`: whose word this is.";
    plain text kafka_topic: "Topic, for records that came through Kafka.";
    plain int kafka_partition: "Partition, for records that came through Kafka.";
    plain long kafka_offset: "Offset, for records that came through Kafka.";
    plain time kafka_timestamp: "Timestamp of the Kafka record.";
    plain text kafka_timestamp_type: "`create_time` or `log_append_time`.";
    sensitive bytes kafka_key: "Key of the Kafka record.";
    sensitive structs kafka_headers [HEADER_FIELDS]: "Headers of the Kafka record, in order.";
    plain text envelope: "Envelopes that were taken off, outermost first, such as `gzip+array`.";
    plain text parse_status: "`ok`, `partial` (some fields could not be read, see `parse_errors`) or `rejected`.";
    plain texts parse_errors: "What could not be read, one sentence each.";
    // Rejections.
    plain text reason_code: "Why a record or part of one could not become an event; NULL for events.";
    plain text reason: "The same in a sentence for a person; NULL for events.";
    // When.
    plain time event_time: "When the act happened, microseconds UTC. For rejections the Kafka timestamp, else the ingest time.";
    sensitive text event_time_raw: "The text or number that `event_time` was read from.";
    plain text event_time_source: "`payload`, `envelope` or `kafka`: where `event_time` came from.";
    plain flag event_time_tz_assumed: "True when the source gave no zone and the configured one was assumed.";
    plain time observed_time: "When a collector or gateway saw the act.";
    plain time source_logged_time: "When the source wrote the record.";
    plain time ingest_time: "When this system decoded the record.";
    plain long clock_skew_ms: "`event_time` minus the Kafka timestamp, milliseconds.";
    plain flag is_late: "True when the event is more than an hour older than its Kafka timestamp.";
    plain date event_date: "UTC day of `event_time`.";
    plain long duration_us: "Duration of the act, microseconds.";
    plain long sequence: "The source's own sequence number.";
    // Who: on whose authority.
    plain text delegator_type: "`user`, `service`, `device`, `anonymous`, `system` or `unknown`.";
    plain text delegator_issuer: "Issuer of the delegating identity.";
    sensitive text delegator_id: "Subject of the delegating identity within its issuer.";
    sensitive text delegator_name: "Display name; never a key.";
    sensitive text delegator_email: "E-mail address; never a key.";
    plain texts delegator_roles: "Roles that the source showed.";
    plain text tenant_id: "The vendor's own tenant id.";
    plain text org_id: "The vendor's own organisation id.";
    // Who: the agent.
    plain text agent_type: "`ai_agent`, `oauth_client`, `workload`, `user` or `unknown`.";
    plain text agent_issuer: "Issuer of the agent's identity.";
    plain text agent_id: "The agent: the presenting party that is not the delegating person.";
    plain text agent_external_id: "The agent's id in another system.";
    plain text agent_name: "Display name of the agent.";
    plain text agent_version: "Release of the agent.";
    plain text agent_instance_id: "Which running copy of the agent.";
    plain text agent_model: "Model that the agent runs.";
    plain flag agent_verified: "True when the agent's identity comes from a credential, false when self-reported.";
    plain text job_id: "Task or workload of the agent.";
    plain text client_id: "OAuth client id.";
    plain text client_name: "Name of the OAuth client.";
    plain text client_version: "Version of the OAuth client.";
    sensitive text client_software_reported: "Client software as it names itself; not verified.";
    plain text delegation_type: "`none`, `act`, `obo`, `token_exchange`, `id_jag`, `impersonation`, `ciba` or `unknown`.";
    plain int delegation_depth: "Number of hops in the chain.";
    sensitive structs delegation_chain [CHAIN_FIELDS]: "Outermost (presenting) party first, as `act` in RFC 8693.";
    plain flag delegation_truncated: "True when the source cut the chain.";
    plain flag delegation_malformed: "True when the source found the chain malformed.";
    plain text delegation_malformed_reason: "The source's reason for that.";
    sensitive text principal_path: "The sentence `User X via Agent Y via MCP Server Z`.";
    // What.
    plain text category: "`authn`, `token`, `authz_decision`, `tool_call`, `resource_access`, `prompt`, `discovery`, `session`, `admin`, `consent`, `lifecycle`, `model_call` or `detection`; `session` where a source says none.";
    plain text activity: "What was done, in one word or two, such as `call`, `issue`, `check`. Of `lifecycle` it is `create`, `update`, `delete`, `enable` or `disable`, the subject is in `resource_id`, and `resource_type` of people holds `user`.";
    plain int ocsf_class_uid: "OCSF 1.8 class.";
    plain int ocsf_activity_id: "OCSF 1.8 activity.";
    plain text protocol: "`mcp`, `oauth2`, `grpc`, `http`, ...";
    plain text protocol_version: "Version of that protocol.";
    plain text method: "Protocol method, such as `tools/call`.";
    plain text action_requested: "What was asked for.";
    plain text action_approved: "What was allowed; NULL when nothing was or the source cannot say.";
    plain texts actions_requested: "All that was asked for, where there are several.";
    plain texts actions_approved: "All that was allowed, where there are several.";
    plain text tool_name: "Tool, without gateway prefixes.";
    plain text tool_name_raw: "Tool as the source wrote it.";
    plain text tool_type: "`tool`, `resource`, `prompt` or `composite`.";
    plain text tool_call_id: "The caller's id of the call.";
    plain bytes tool_definition_sha256: "SHA-256 of the tool's definition, where the source shows it.";
    sensitive text params_json: "Parameters as canonical JSON, redacted.";
    sensitive text params_approved_json: "Parameters after the gateway changed them, redacted.";
    plain bytes params_sha256: "Keyed hash of the parameters before redaction.";
    plain long params_bytes: "Size of the parameters as they came, bytes.";
    plain text params_state: "`present`, `absent`, `disabled_at_source`, `dropped_oversize`, `truncated` or `redacted`.";
    plain texts params_redacted_paths: "Paths whose values were redacted.";
    plain texts arg_keys: "Names of the top-level arguments, sorted.";
    sensitive structs dest_entities [DEST_FIELDS]: "Typed destinations found in the arguments: address, url, account, phone, path, channel, host, table.";
    plain text resource_type: "Type of the resource.";
    sensitive text resource_id: "Id of the resource.";
    sensitive text resource_uri: "URI of the resource.";
    sensitive text resource_name: "Name of the resource.";
    sensitive text resource_owner: "Owner of the resource.";
    sensitive structs resources [RESOURCE_FIELDS]: "All resources, where there are several.";
    plain text approver_id: "Who approved the act, where one did.";
    plain text approval_kind: "How: `user`, `policy`, `hook`, `break_glass`.";
    plain text purpose_of_use: "Stated purpose (HIPAA).";
    sensitive text data_subject_token: "Keyed token of the person whose data was touched.";
    plain long result_rows: "Rows or records returned.";
    plain long result_bytes: "Bytes returned.";
    plain bytes result_sha256: "Keyed hash of the result.";
    plain flag result_is_error: "True when the result itself says error (MCP `isError`).";
    // Where.
    plain text mcp_server_id: "Id of the MCP server.";
    plain text mcp_server_name: "Name of the MCP server.";
    plain text mcp_server_url: "URL of the MCP server, without query.";
    plain text mcp_backend_name: "Backend behind a virtual server.";
    plain text gateway_name: "Gateway that saw the act.";
    plain text service_name: "Service that wrote the record.";
    plain text environment: "Environment of the table: `development`, `staging`, `production`.";
    plain text cloud_provider: "Cloud provider.";
    plain text cloud_account: "Cloud account.";
    plain text region: "Region.";
    sensitive text src_ip: "Source address, normalised.";
    plain int src_port: "Source port.";
    plain flag src_ip_trusted: "False when the address is only what the caller claimed.";
    sensitive texts forwarded_for: "Addresses claimed by proxies, first to last.";
    plain text geo_country: "Country of the source address as the source gave it.";
    plain text geo_region: "Region of the source address.";
    sensitive text geo_city: "City of the source address.";
    sensitive double geo_lat: "Latitude, degrees.";
    sensitive double geo_lon: "Longitude, degrees.";
    plain long asn: "Autonomous system number of the source address.";
    plain flag is_proxy: "True when the source says the address is a proxy.";
    sensitive text user_agent: "User agent as reported.";
    sensitive text device_id: "Device id.";
    plain text host_name: "Host that wrote the record.";
    // Decision and outcome.
    plain text outcome: "What happened to the act: `success`, `failure`, `denied`, `error`, `challenge` or `unknown`.";
    plain text outcome_ground: "On what ground `outcome` stands: `http_status`, `jsonrpc`, `is_error`, `event_type`, `policy_effect`, `source_field`.";
    plain text outcome_code: "The source's own code.";
    sensitive text outcome_reason: "The source's own reason.";
    plain int http_status: "HTTP status.";
    plain long jsonrpc_error_code: "JSON-RPC error code.";
    plain text decision: "`allow`, `deny`, `conditional`, `challenge`, `not_applicable` or `indeterminate`.";
    sensitive text decision_reason: "Why, as far as the decision point says.";
    plain text decision_id: "The decision point's own id of the decision.";
    plain text decision_source: "`pdp`, `idp_policy`, `gateway`, `user`, `hook` or `config`.";
    plain text pdp_vendor: "Vendor of the decision point.";
    plain text policy_id: "Policy that decided.";
    plain text policy_version: "Its version or bundle revision.";
    plain text policy_scope: "Its scope.";
    plain text policy_rule: "Rule within the policy.";
    plain structs policies [POLICY_FIELDS]: "All policies that contributed.";
    plain texts pdp_errors: "Evaluation errors beside the decision.";
    plain text risk_level: "Risk as the source rates it.";
    plain double risk_score: "Risk score of the source.";
    // Token.
    plain text token_jti: "Id or hash of the token.";
    plain text token_id_kind: "`jti`, `uti` or `hash`.";
    plain text token_type: "Token type.";
    plain text token_issuer: "Issuer of the token.";
    sensitive text token_subject: "Subject of the token.";
    plain texts token_audience: "Audiences.";
    plain texts resource_indicator: "RFC 8707 resources.";
    plain texts scopes_requested: "Scopes asked for.";
    plain texts scopes_granted: "Scopes granted.";
    plain time token_issued_at: "Issue time.";
    plain time token_expires_at: "Expiry.";
    plain time auth_time: "When the person signed in.";
    plain text grant_type: "OAuth grant type.";
    plain text subject_token_type: "RFC 8693 subject token type.";
    plain text requested_token_type: "RFC 8693 requested token type.";
    plain text subject_token_client_id: "Client that the subject token was issued to.";
    plain text refresh_family_id: "Refresh token family.";
    plain text acr: "Authentication context class.";
    plain texts amr: "Authentication methods.";
    plain flag mfa_used: "Whether a second factor was used.";
    plain text pkce_method: "PKCE method.";
    plain flag pkce_used: "Whether PKCE was used.";
    plain text client_auth_method: "How the client authenticated.";
    plain text sender_constraint: "`dpop`, `mtls` or `none`.";
    plain text sender_thumbprint: "Thumbprint of the sender's key.";
    // Correlation.
    plain text idp_session_id: "Session at the identity provider.";
    plain text mcp_session_id: "MCP session (protocols up to 2025-11-25).";
    plain text conversation_id: "Conversation.";
    plain text prompt_id: "Prompt turn.";
    plain text request_id: "Request id of the source.";
    plain text jsonrpc_id: "JSON-RPC id, as text.";
    plain text correlation_id: "Correlation id of the source.";
    plain text trace_id: "W3C trace id, 32 hex digits.";
    plain text span_id: "W3C span id, 16 hex digits.";
    plain int retry_attempt: "Attempt number, where the source shows it.";
    plain long tokens_in: "Model tokens in.";
    plain long tokens_out: "Model tokens out.";
    plain double cost_usd: "Cost in US dollars.";
    // Rest.
    sensitive map ext: "Leaves that no column took, path to JSON text, redacted, at most 64 of at most 1 KiB each.";
    plain bytes leaf_hash: "Ledger leaf over all other columns. Set at commit.";
    plain bytes payload_mac: "Keyed hash of the record's bytes as they arrived.";
    plain bytes raw_sha256: "SHA-256 of `raw_payload` as stored.";
    plain long raw_bytes: "Size of the record as it arrived, bytes.";
    plain flag raw_truncated: "True when `raw_payload` was cut.";
    sensitive bytes raw_payload: "This element of the record, redacted. Last column, read only when asked for.";
}
