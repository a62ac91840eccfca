-- Tool calls that one observer saw and another did not, though the other sees such calls of the first: in the same hour it shares
-- calls of the same tool with it, or half of all its calls and some of the same server. Only calls with ids that both keep; a
-- call that was refused is not expected behind the gate that refused it.
WITH seen AS (
  SELECT DISTINCT tenant, observer, act_key, act_key_method, tool_key, time_bucket(event_time, 3600) AS hour FROM observations WHERE act_key_method IS NOT NULL
),
pairs AS (
  SELECT a.tenant, a.hour, a.observer AS seen_by, b.observer AS not_seen_by, a.tool_key, a.act_key_method AS method, COUNT(*) AS shared FROM seen a
  JOIN seen b ON b.tenant = a.tenant AND b.act_key = a.act_key AND b.observer <> a.observer GROUP BY 1, 2, 3, 4, 5, 6
),
totals AS (SELECT tenant, hour, observer, COUNT(*) AS n FROM seen GROUP BY 1, 2, 3),
shares AS (
  SELECT p.tenant, p.hour, p.seen_by, p.not_seen_by, SUM(p.shared) AS shared, MAX(t.n) AS n, array_agg(DISTINCT p.tool_key) AS tools, array_agg(DISTINCT p.method) AS methods FROM pairs p
  JOIN totals t ON t.tenant = p.tenant AND t.hour = p.hour AND t.observer = p.seen_by GROUP BY 1, 2, 3, 4
),
-- Which server a tool is of, by the word of whoever names it: a server with half of all calls does not see those of another.
servers AS (SELECT DISTINCT tenant, tool_key, mcp_server_name AS server FROM observations WHERE mcp_server_name IS NOT NULL),
reached AS (
  SELECT DISTINCT p.tenant, p.hour, p.seen_by, p.not_seen_by, t.tool_key FROM pairs p
  JOIN servers v ON v.tenant = p.tenant AND v.tool_key = p.tool_key JOIN servers t ON t.tenant = v.tenant AND t.server = v.server
),
refused AS (SELECT DISTINCT tenant, act_key FROM observations WHERE source_kind = 'mcp_gateway' AND outcome = 'denied')
SELECT DISTINCT ON (o.tenant, o.act_key, s.seen_by, s.not_seen_by)
  o.tenant, o.event_time, s.seen_by, s.not_seen_by, o.tool_name, o.delegator_id, o.agent_id, o.mcp_server_name, o.outcome, o.trace_id, o.jsonrpc_id, o.act_key, o.event_id, s.shared
FROM observations o JOIN shares s ON s.tenant = o.tenant AND s.seen_by = o.observer AND s.hour = time_bucket(o.event_time, 3600)
LEFT ANTI JOIN seen b ON b.tenant = o.tenant AND b.act_key = o.act_key AND b.observer = s.not_seen_by
LEFT ANTI JOIN refused f ON f.tenant = o.tenant AND f.act_key = o.act_key
LEFT JOIN (SELECT DISTINCT tenant, tool_key FROM servers) k ON k.tenant = o.tenant AND k.tool_key = o.tool_key
LEFT JOIN reached r ON r.tenant = s.tenant AND r.hour = s.hour AND r.seen_by = s.seen_by AND r.not_seen_by = s.not_seen_by AND r.tool_key = o.tool_key
WHERE array_has(s.methods, o.act_key_method) AND o.outcome <> 'denied'
  AND (array_has(s.tools, o.tool_key) OR s.shared * 2 >= s.n AND (k.tool_key IS NULL OR r.tool_key IS NOT NULL))
ORDER BY o.tenant, o.act_key, s.seen_by, s.not_seen_by, o.event_time, o.event_id
