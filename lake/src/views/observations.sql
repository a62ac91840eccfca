-- One row for each tool call that an observer saw: an observer is a source, or a service within a collector.
-- `act_key` is what observations of one call share, `act_key_method` on what ground.
WITH results AS (
  -- What came back, where a recorder writes request and answer apart.
  SELECT tenant, source_instance, mcp_session_id, jsonrpc_id, first_value(outcome ORDER BY event_time, event_id) AS outcome,
    first_value(outcome_ground ORDER BY event_time, event_id) AS outcome_ground
  FROM events WHERE category = 'tool_call' AND activity = 'result' AND mcp_session_id IS NOT NULL AND jsonrpc_id IS NOT NULL
  GROUP BY 1, 2, 3, 4
),
named AS (
  SELECT e.*, COALESCE(source_vendor, '') || ':' || COALESCE(source_instance, '') || CASE WHEN source_kind IN ('agent_runtime', 'mcp_wire') THEN COALESCE('/' || service_name, '') ELSE '' END AS observer,
    lower(tool_name) AS tool_key, 'trace ' || trace_id || ' ' || lower(tool_name) || COALESCE(' ' || jsonrpc_id, '') AS by_trace, 'request ' || request_id || ' ' || lower(tool_name) || ' ' || CAST(event_date AS VARCHAR) AS by_request,
    'session ' || mcp_session_id || ' ' || lower(tool_name) || ' ' || jsonrpc_id AS by_session
  FROM events e WHERE category = 'tool_call' AND activity <> 'result' AND tool_name IS NOT NULL
),
calls AS (
  -- One trace may have several sessions that count their calls from the same number: then their order decides.
  SELECT n.*, row_number() OVER (PARTITION BY tenant, by_trace, observer ORDER BY event_time, event_id) AS nth FROM named n
),
-- An observer that keeps both ids of a call says which are the same.
requests AS (
  SELECT *, row_number() OVER (PARTITION BY tenant, by_trace ORDER BY first_at, by_request) AS nth FROM (
    SELECT tenant, by_trace, by_request, MIN(event_time) AS first_at FROM calls WHERE by_request IS NOT NULL AND by_trace IS NOT NULL GROUP BY 1, 2, 3) r
),
sessions AS (SELECT tenant, by_session, MIN(COALESCE(by_request, by_trace)) AS other FROM calls WHERE by_session IS NOT NULL AND COALESCE(by_request, by_trace) IS NOT NULL GROUP BY 1, 2)
SELECT c.tenant, c.event_id, c.event_time, c.observer, c.source_vendor, c.source_instance, c.source_kind,
  COALESCE(c.by_request, q.by_request, c.by_trace || ' #' || CAST(c.nth AS VARCHAR), s.other, c.by_session, 'event ' || c.event_id) AS act_key,
  CASE
    WHEN c.by_request IS NOT NULL THEN 'request id'
    WHEN c.by_trace IS NOT NULL THEN CASE WHEN c.jsonrpc_id IS NOT NULL THEN 'trace and call id' ELSE 'trace and order' END
    WHEN c.by_session IS NOT NULL THEN 'session and call id'
    END AS act_key_method,
  -- Whose word goes first: the gateway knows who asked, a recorder what was said, a runtime tells of itself.
  CASE c.source_kind WHEN 'mcp_gateway' THEN 1 WHEN 'mcp_wire' THEN 2 WHEN 'cloud' THEN 3 ELSE 4 END AS place,
  CASE WHEN c.outcome = 'unknown' THEN COALESCE(r.outcome, c.outcome) ELSE c.outcome END AS outcome,
  CASE WHEN c.outcome = 'unknown' THEN COALESCE(r.outcome_ground, c.outcome_ground) ELSE c.outcome_ground END AS outcome_ground,
  c.trace_id, c.request_id, c.jsonrpc_id, c.mcp_session_id, c.token_jti, c.tool_key, c.tool_name, c.principal_path,
  c.delegator_issuer, c.delegator_id, c.delegator_name, c.agent_id, c.agent_name, c.client_id, c.job_id, c.delegation_chain,
  c.mcp_server_id, c.mcp_server_name, c.region, c.src_ip, c.resource_type, c.resource_id, c.resource_uri, c.params_json, c.params_approved_json,
  c.action_requested, c.action_approved, c.decision, c.decision_reason, c.policy_id, c.policy_version, c.result_rows, c.result_bytes
FROM calls c LEFT JOIN results r ON r.tenant = c.tenant AND r.source_instance = c.source_instance AND r.mcp_session_id = c.mcp_session_id AND r.jsonrpc_id = c.jsonrpc_id
LEFT JOIN requests q ON q.tenant = c.tenant AND q.by_trace = c.by_trace AND q.nth = c.nth
LEFT JOIN sessions s ON s.tenant = c.tenant AND s.by_session = c.by_session
