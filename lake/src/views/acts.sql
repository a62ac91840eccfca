-- One row for each act: a tool call by whoever saw it, with the decision and the token that belong to it; and each decision
-- that no call belongs to. `decision_join` and `token_join` say on what ground they were joined, and how far to trust it.
WITH calls AS (
  SELECT tenant, act_key, MIN(act_key_method) AS act_key_method, MIN(event_time) AS event_time, array_agg(DISTINCT observer) AS observers, array_agg(DISTINCT event_id) AS call_event_ids,
    first_value(event_id ORDER BY place, event_time, event_id) AS event_id,
    first_value(tool_name ORDER BY place, event_time, event_id) AS tool_name, MIN(tool_key) AS tool_key,
    first_value(principal_path ORDER BY CASE WHEN principal_path LIKE 'User %' THEN 1 ELSE 2 END, place, event_time, event_id) IGNORE NULLS AS principal_path,
    first_value(delegator_issuer ORDER BY place, event_time, event_id) IGNORE NULLS AS delegator_issuer,
    first_value(delegator_id ORDER BY place, event_time, event_id) IGNORE NULLS AS delegator_id,
    first_value(delegator_name ORDER BY place, event_time, event_id) IGNORE NULLS AS delegator_name,
    first_value(agent_id ORDER BY place, event_time, event_id) IGNORE NULLS AS agent_id,
    first_value(agent_name ORDER BY place, event_time, event_id) IGNORE NULLS AS agent_name,
    first_value(client_id ORDER BY place, event_time, event_id) IGNORE NULLS AS client_id,
    first_value(job_id ORDER BY place, event_time, event_id) IGNORE NULLS AS job_id,
    first_value(COALESCE(mcp_server_name, mcp_server_id) ORDER BY place, event_time, event_id) IGNORE NULLS AS mcp_server,
    first_value(region ORDER BY place, event_time, event_id) IGNORE NULLS AS region,
    first_value(src_ip ORDER BY place, event_time, event_id) IGNORE NULLS AS src_ip,
    first_value(COALESCE(resource_uri, resource_id) ORDER BY place, event_time, event_id) IGNORE NULLS AS resource,
    first_value(params_json ORDER BY place, event_time, event_id) IGNORE NULLS AS params_json,
    first_value(params_approved_json ORDER BY place, event_time, event_id) IGNORE NULLS AS params_approved_json,
    first_value(action_requested ORDER BY place, event_time, event_id) IGNORE NULLS AS action_requested,
    first_value(action_approved ORDER BY place, event_time, event_id) IGNORE NULLS AS action_approved,
    first_value(decision ORDER BY place, event_time, event_id) IGNORE NULLS AS gateway_decision,
    first_value(decision_reason ORDER BY place, event_time, event_id) IGNORE NULLS AS gateway_reason,
    -- A status of HTTP says of an answer that it came, not that it is a good one: whoever read the answer goes first.
    first_value(CASE WHEN outcome <> 'unknown' THEN outcome END ORDER BY CASE WHEN outcome = 'success' AND outcome_ground = 'http_status' THEN 2 ELSE 1 END, place, event_time, event_id) IGNORE NULLS AS outcome,
    first_value(CASE WHEN outcome <> 'unknown' THEN outcome_ground END ORDER BY CASE WHEN outcome = 'success' AND outcome_ground = 'http_status' THEN 2 ELSE 1 END, place, event_time, event_id) IGNORE NULLS AS outcome_ground,
    bool_or(outcome IN ('error', 'failure')) AS some_say_failed,
    MIN(trace_id) AS trace_id, MIN(request_id) AS request_id, MIN(token_jti) AS token_jti, MAX(result_rows) AS result_rows, MAX(result_bytes) AS result_bytes
  FROM observations GROUP BY tenant, act_key
),
said AS (
  SELECT tenant, event_id, event_time, trace_id, span_id, request_id, lower(tool_name) AS tool_key, agent_id, delegator_id, decision, decision_reason, policy_id, policy_version, action_requested, action_approved,
    principal_path, COALESCE(resource_uri, resource_id) AS resource, tool_name, source_vendor || ':' || source_instance AS observer, pdp_errors, token_jti, mcp_server_name AS mcp_server,
    CASE decision WHEN 'deny' THEN 1 WHEN 'challenge' THEN 2 WHEN 'conditional' THEN 3 WHEN 'indeterminate' THEN 4 WHEN 'allow' THEN 5 ELSE 6 END AS weight
  FROM events WHERE category = 'authz_decision' AND decision IS NOT NULL
),
candidates AS (
  -- By a request id that both have, where tool and trace do not speak against it (some count from 1 with each start); by trace;
  -- by tool, caller and time. One asks before one calls: what was said after the call counts as four times as far away.
  SELECT c.act_key, d.*, CASE WHEN d.request_id = c.request_id AND d.tool_key = c.tool_key THEN 1 WHEN d.tool_key IS NULL THEN 3 ELSE 2 END AS way,
    (CAST(c.event_time AS BIGINT) - CAST(d.event_time AS BIGINT)) * CASE WHEN d.event_time > c.event_time THEN -4 ELSE 1 END AS apart_us
  FROM calls c JOIN said d ON d.tenant = c.tenant AND d.trace_id = c.trace_id AND (d.tool_key = c.tool_key OR d.tool_key IS NULL)
  UNION ALL
  SELECT c.act_key, d.*, CASE WHEN d.request_id = c.request_id THEN 1 ELSE 4 END,
    (CAST(c.event_time AS BIGINT) - CAST(d.event_time AS BIGINT)) * CASE WHEN d.event_time > c.event_time THEN -4 ELSE 1 END
  FROM calls c JOIN said d ON d.tenant = c.tenant AND d.tool_key = c.tool_key AND (d.trace_id IS NULL OR c.trace_id IS NULL)
    AND d.event_time >= c.event_time - INTERVAL '5 minutes' AND d.event_time <= c.event_time + INTERVAL '5 minutes'
    AND (d.request_id = c.request_id OR (d.agent_id = c.agent_id OR (d.agent_id IS NULL OR c.agent_id IS NULL) AND d.delegator_id = c.delegator_id)
      AND d.event_time >= c.event_time - INTERVAL '5 seconds' AND d.event_time <= c.event_time + INTERVAL '5 seconds')
),
heeded AS (
  -- Of each decision point the nearest in time, for one trace may ask twice; of those said together a deny goes first. What a
  -- request id gives to one act is not given to another.
  SELECT * FROM (
    SELECT *, row_number() OVER (PARTITION BY tenant, act_key, observer ORDER BY way, apart_us / 2000, weight, apart_us, event_time, event_id) AS nth
    FROM (SELECT *, MIN(way) OVER (PARTITION BY tenant, event_id) AS best FROM candidates) b WHERE best > 1 OR way = 1
  ) r WHERE nth = 1
),
chosen AS (
  -- Who refuses goes before who allows, unless joined on weaker ground.
  SELECT * FROM (
    SELECT *, row_number() OVER (PARTITION BY tenant, act_key ORDER BY CASE WHEN way = 4 THEN 2 ELSE 1 END, weight, way, apart_us, event_id) AS place,
      array_agg(event_id) OVER (PARTITION BY tenant, act_key) AS decision_event_ids, MIN(token_jti) OVER (PARTITION BY tenant, act_key) AS jti
    FROM heeded
  ) r WHERE place = 1
),
grants AS (
  SELECT tenant, event_id, event_time, token_jti, delegator_id, delegator_name, COALESCE(agent_id, client_id) AS agent_id, scopes_requested, scopes_granted, token_audience, token_expires_at, grant_type
  FROM events WHERE category = 'token' AND activity IN ('issue', 'exchange', 'refresh') AND outcome = 'success'
),
by_token AS (
  SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY tenant, token_jti ORDER BY event_time, event_id) AS place FROM grants WHERE token_jti IS NOT NULL) r WHERE place = 1
),
by_name AS (
  -- The last token that was given to this agent for this person, at most an hour before.
  SELECT * FROM (
    SELECT c.tenant, c.act_key, g.event_id, g.token_jti, g.delegator_name, g.scopes_requested, g.scopes_granted, g.token_audience, g.token_expires_at, g.grant_type,
      row_number() OVER (PARTITION BY c.tenant, c.act_key ORDER BY g.event_time DESC, g.event_id) AS place
    FROM calls c JOIN grants g ON g.tenant = c.tenant AND g.delegator_id = c.delegator_id AND g.agent_id = COALESCE(c.agent_id, c.client_id)
      AND g.event_time <= c.event_time AND g.event_time >= c.event_time - INTERVAL '1 hour'
    WHERE c.token_jti IS NULL
  ) r WHERE place = 1
),
joined AS (
  SELECT c.*, w.decision AS pdp_decision, w.decision_reason AS pdp_reason, w.policy_id AS pdp_policy, w.policy_version AS pdp_policy_version, w.event_id AS decision_event_id, w.observer AS decided_by, w.way, w.pdp_errors,
    w.action_requested AS pdp_requested, w.action_approved AS pdp_approved, w.resource AS pdp_resource, w.delegator_id AS pdp_delegator, w.agent_id AS pdp_agent, w.mcp_server AS pdp_server, w.decision_event_ids,
    COALESCE(t.event_id, n.event_id) AS grant_event_id, COALESCE(c.delegator_name, t.delegator_name, n.delegator_name) AS person_name, COALESCE(c.token_jti, w.jti, n.token_jti) AS jti, COALESCE(t.scopes_requested, n.scopes_requested) AS scopes_requested,
    COALESCE(t.scopes_granted, n.scopes_granted) AS scopes_granted, COALESCE(t.token_audience, n.token_audience) AS token_audience,
    COALESCE(t.token_expires_at, n.token_expires_at) AS token_expires_at, COALESCE(t.grant_type, n.grant_type) AS grant_type,
    CASE WHEN t.event_id IS NULL AND n.event_id IS NOT NULL THEN 'person, agent and time' WHEN t.event_id IS NULL THEN NULL WHEN c.token_jti IS NOT NULL THEN 'token id' ELSE 'token id of the decision' END AS token_join
  FROM calls c
  LEFT JOIN chosen w ON w.tenant = c.tenant AND w.act_key = c.act_key
  LEFT JOIN by_token t ON t.tenant = c.tenant AND t.token_jti = COALESCE(c.token_jti, w.jti)
  LEFT JOIN by_name n ON n.tenant = c.tenant AND n.act_key = c.act_key AND w.jti IS NULL
),
alone AS (
  -- Decisions that no call followed. What several decision points said under one request id, or in one span, is one act; the
  -- strictest is shown.
  SELECT *, row_number() OVER (PARTITION BY tenant, ask, nth ORDER BY weight, event_time, event_id) AS place,
    array_agg(event_id) OVER (PARTITION BY tenant, ask, nth) AS decision_event_ids, MIN(token_jti) OVER (PARTITION BY tenant, ask, nth) AS jti
  FROM (
    SELECT *, row_number() OVER (PARTITION BY tenant, ask, observer ORDER BY event_time, event_id) AS nth
    FROM (
      SELECT *, CASE WHEN MIN(observer) OVER (PARTITION BY tenant, of_request) <> MAX(observer) OVER (PARTITION BY tenant, of_request) THEN of_request
        WHEN MIN(observer) OVER (PARTITION BY tenant, of_span) <> MAX(observer) OVER (PARTITION BY tenant, of_span) THEN of_span ELSE event_id END AS ask
      FROM (
        SELECT d.*, COALESCE(request_id || ' ' || trace_id || ' ' || tool_key, event_id) AS of_request, COALESCE(trace_id || ' ' || span_id || ' ' || tool_key, event_id) AS of_span
        FROM said d LEFT ANTI JOIN heeded h ON h.tenant = d.tenant AND h.event_id = d.event_id
      ) a
    ) k
  ) n
),
rows AS (
  SELECT tenant, act_key AS act_id, event_time, 
    -- Who it was is put together from all sources, where those that saw the call do not say.
    CASE WHEN principal_path LIKE 'User %' AND (principal_path LIKE '%MCP Server %' OR COALESCE(mcp_server, pdp_server) IS NULL) THEN principal_path
      ELSE NULLIF(concat_ws(' via ', 'User ' || COALESCE(person_name, delegator_id, pdp_delegator), 'Agent ' || COALESCE(agent_name, agent_id, pdp_agent), 'MCP Server ' || COALESCE(mcp_server, pdp_server)), '') END AS principal_path, delegator_issuer,
    COALESCE(delegator_id, pdp_delegator) AS delegator_id, person_name AS delegator_name, COALESCE(agent_id, pdp_agent) AS agent_id, agent_name, client_id, job_id, COALESCE(mcp_server, pdp_server) AS mcp_server, region, src_ip, tool_name,
    COALESCE(resource, pdp_resource) AS resource, params_json, params_approved_json, COALESCE(pdp_requested, action_requested) AS action_requested,
    CASE WHEN refused THEN NULL ELSE COALESCE(pdp_approved, action_approved) END AS action_approved,
    CASE WHEN refused THEN 'deny' ELSE COALESCE(pdp_decision, gateway_decision) END AS decision,
    CASE WHEN refused THEN COALESCE(gateway_reason, 'the gateway refused' || COALESCE(' what ' || decided_by || ' allowed', '')) ELSE COALESCE(pdp_reason, gateway_reason) END AS decision_reason,
    pdp_policy AS policy_id, pdp_policy_version AS policy_version, pdp_errors,
    COALESCE(outcome, 'unknown') AS outcome, outcome_ground, some_say_failed AND outcome = 'success' AS outcome_disputed, jti AS token_jti, grant_type, scopes_requested, scopes_granted, token_audience, token_expires_at,
    result_rows, result_bytes, trace_id, observers, decided_by, call_event_ids, decision_event_id, decision_event_ids, grant_event_id, act_key_method AS call_join,
    CASE way WHEN 1 THEN 'request id' WHEN 2 THEN 'trace and tool' WHEN 3 THEN 'trace' WHEN 4 THEN 'tool, caller and time' ELSE CASE WHEN gateway_decision IS NOT NULL THEN 'the word of the gateway' END END AS decision_join, confidence AS decision_confidence,
    token_join, CASE token_join WHEN 'token id' THEN 1.0 WHEN 'token id of the decision' THEN confidence WHEN 'person, agent and time' THEN 0.6 END AS token_confidence,
    'call' || CASE WHEN way IS NOT NULL THEN ' + decision' ELSE '' END || CASE WHEN token_join IS NOT NULL THEN ' + token' ELSE '' END AS parts
  FROM (
    SELECT *, CASE WHEN way <= 2 THEN 1.0 WHEN way = 3 THEN 0.9 WHEN way = 4 THEN 0.6 WHEN gateway_decision IS NOT NULL THEN 0.5 END AS confidence,
      gateway_decision = 'deny' AND COALESCE(pdp_decision, '') NOT IN ('deny', 'challenge') AS refused
    FROM joined
  ) j
  UNION ALL
  SELECT d.tenant, 'decision ' || d.event_id, d.event_time,
    CASE WHEN t.delegator_name IS NULL THEN d.principal_path ELSE concat_ws(' via ', 'User ' || t.delegator_name, 'Agent ' || d.agent_id, 'MCP Server ' || d.mcp_server) END, NULL, d.delegator_id, t.delegator_name, d.agent_id, NULL, NULL, NULL, d.mcp_server, NULL, NULL, d.tool_name,
    d.resource, NULL, NULL, d.action_requested, d.action_approved, d.decision, d.decision_reason, d.policy_id, d.policy_version, d.pdp_errors,
    'unknown', NULL, false, d.jti, t.grant_type, t.scopes_requested, t.scopes_granted, t.token_audience, t.token_expires_at, NULL, NULL, d.trace_id, arrow_cast(make_array(), 'List(Utf8)'), d.observer, NULL, d.event_id, d.decision_event_ids, t.event_id, NULL, NULL, NULL,
    CASE WHEN t.event_id IS NOT NULL THEN 'token id' END, CASE WHEN t.event_id IS NOT NULL THEN 1.0 END, 'decision'
  FROM alone d LEFT JOIN by_token t ON t.tenant = d.tenant AND t.token_jti = d.jti WHERE d.place = 1
)
SELECT *, COALESCE(principal_path, 'someone') || CASE WHEN parts = 'decision' THEN ' asked to call ' ELSE ' called ' END || COALESCE(tool_name, action_requested, 'something') || CASE WHEN resource <> COALESCE(tool_name, '') THEN ' on ' || resource ELSE '' END
  || CASE WHEN decision IS NULL THEN '; nobody was seen to decide' ELSE '; asked ' || COALESCE(action_requested, 'call') || ', got ' || decision || CASE WHEN decision_join = 'the word of the gateway' THEN ' by the word of the gateway alone' ELSE '' END || COALESCE(', because ' || COALESCE(decision_reason, policy_id), '') END
  || CASE WHEN parts = 'decision' THEN '; no call was seen' ELSE '; outcome ' || outcome END || COALESCE('; with token ' || token_jti, '') AS sentence
FROM rows
