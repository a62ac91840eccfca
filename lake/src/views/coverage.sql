-- What each source said in each hour, and what others say that it should have said. `missing` above zero is a doubt; a row
-- of the check `events` is there for every hour in which the source was heard.
WITH heard AS (
  SELECT tenant, source_vendor || ':' || source_instance AS source, time_bucket(event_time, 3600) AS hour, COUNT(*) AS n,
    SUM(CASE WHEN parse_status = 'partial' THEN 1 ELSE 0 END) AS partial
  FROM events WHERE source_vendor IS NOT NULL GROUP BY 1, 2, 3
),
calls AS (
  -- A call that several others saw is one call.
  SELECT l.tenant, l.source, l.hour, l.missing, l.others, COALESCE(o.n, 0) AS seen FROM (
    SELECT tenant, not_seen_by AS source, time_bucket(event_time, 3600) AS hour, COUNT(DISTINCT act_key) AS missing,
      array_to_string(array_agg(DISTINCT seen_by ORDER BY seen_by), ', ') AS others
    FROM lost_calls GROUP BY 1, 2, 3) l
  LEFT JOIN (SELECT tenant, observer, time_bucket(event_time, 3600) AS hour, COUNT(DISTINCT act_key) AS n FROM observations GROUP BY 1, 2, 3) o
    ON o.tenant = l.tenant AND o.observer = l.source AND o.hour = l.hour
),
access AS (
  -- Cerbos: an access record of a check that went well, and no decision of the same call.
  SELECT a.tenant, a.source_vendor || ':' || a.source_instance AS source, time_bucket(a.event_time, 3600) AS hour, COUNT(*) AS expected, COUNT(d.correlation_id) AS seen
  FROM events a LEFT JOIN (SELECT DISTINCT tenant, source_vendor, source_instance, correlation_id FROM events WHERE category = 'authz_decision') d
    ON d.tenant = a.tenant AND d.source_vendor = a.source_vendor AND d.source_instance = a.source_instance AND d.correlation_id = a.correlation_id
  WHERE a.category = 'session' AND a.activity = 'access' AND a.outcome = 'success' AND a.method LIKE '%/Check%' AND a.correlation_id IS NOT NULL GROUP BY 1, 2, 3
),
decided AS (
  SELECT tenant, hour, COUNT(*) AS n FROM (SELECT tenant, time_bucket(event_time, 3600) AS hour FROM events WHERE category = 'authz_decision' AND decision IS NOT NULL) d GROUP BY 1, 2
),
undecided AS (
  SELECT a.tenant, o.observer AS source, time_bucket(a.event_time, 3600) AS hour, COUNT(*) AS expected, SUM(CASE WHEN a.decision_event_id IS NULL THEN 0 ELSE 1 END) AS seen
  FROM (SELECT tenant, act_id, event_time, decision_event_id, unnest(observers) AS observer FROM acts WHERE parts <> 'decision' AND outcome <> 'denied') a
  JOIN (SELECT DISTINCT tenant, observer FROM observations WHERE place = 1) o ON o.tenant = a.tenant AND o.observer = a.observer
  GROUP BY 1, 2, 3
),
followed AS (
  -- Fits a decision point only where calls are seen to follow its decisions at all.
  SELECT tenant, decided_by AS source, time_bucket(event_time, 3600) AS hour, COUNT(DISTINCT decision_event_id) AS expected, COUNT(DISTINCT CASE WHEN parts <> 'decision' THEN decision_event_id END) AS seen
  FROM acts WHERE decided_by IS NOT NULL AND (parts <> 'decision' OR decision = 'allow') GROUP BY 1, 2, 3
),
grants AS (
  -- A token of a session that was exchanged for another was used for that.
  SELECT g.tenant, g.source, g.hour, COUNT(*) AS expected, COUNT(COALESCE(u.grant_event_id, x.idp_session_id)) AS seen
  FROM (SELECT tenant, source_vendor || ':' || source_instance AS source, time_bucket(event_time, 3600) AS hour, event_id, idp_session_id, client_id FROM events WHERE category = 'token' AND activity IN ('issue', 'exchange', 'refresh') AND outcome = 'success') g
  LEFT JOIN (SELECT DISTINCT tenant, grant_event_id FROM acts WHERE grant_event_id IS NOT NULL) u ON u.tenant = g.tenant AND u.grant_event_id = g.event_id
  LEFT JOIN (SELECT DISTINCT tenant, idp_session_id, subject_token_client_id FROM events WHERE category = 'token' AND activity = 'exchange' AND outcome = 'success' AND idp_session_id IS NOT NULL) x
    ON x.tenant = g.tenant AND x.idp_session_id = g.idp_session_id AND x.subject_token_client_id = g.client_id
  GROUP BY 1, 2, 3
),
sequences AS (
  -- Each counter for itself: of a stream, a service on a host, a conversation.
  SELECT tenant, source, hour, SUM(expected) AS expected, SUM(seen) AS seen FROM (
    SELECT tenant, source_vendor || ':' || source_instance AS source, time_bucket(event_time, 3600) AS hour, stream, service_name, host_name, conversation_id, prompt_id, agent_instance_id,
      MAX(sequence) - MIN(sequence) + 1 AS expected, COUNT(DISTINCT sequence) AS seen
    FROM events WHERE sequence IS NOT NULL GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9) c
  GROUP BY 1, 2, 3
),
hours AS (SELECT DISTINCT tenant, hour FROM heard),
spans AS (SELECT tenant, source, MIN(hour) AS first, MAX(hour) AS last, COUNT(*) AS n FROM heard GROUP BY 1, 2),
silent AS (
  -- Hours in which others were heard and the source was not, though it is heard in most of them; after its last one too.
  SELECT h.tenant, s.source, h.hour, s.n, COUNT(*) OVER (PARTITION BY s.tenant, s.source) AS silent_hours
  FROM hours h JOIN spans s ON s.tenant = h.tenant AND h.hour > s.first LEFT ANTI JOIN heard e ON e.tenant = h.tenant AND e.hour = h.hour AND e.source = s.source
)
SELECT tenant, source, hour, 'events' AS "check", n AS seen, CAST(NULL AS BIGINT) AS expected, CAST(0 AS BIGINT) AS missing,
  CASE WHEN partial > 0 THEN CAST(partial AS VARCHAR) || ' events could be read in part only' END AS doubt FROM heard
UNION ALL
SELECT tenant, source, hour, 'calls that another observer saw', seen, seen + missing, missing,
  source || ' has ' || CAST(seen AS VARCHAR) || ' calls and lacks ' || CAST(missing AS VARCHAR) || ' that ' || others || ' saw' FROM calls
UNION ALL
SELECT tenant, source, hour, 'decision for each access', seen, expected, expected - seen,
  CASE WHEN expected > seen THEN 'of ' || CAST(expected AS VARCHAR) || ' checks that were answered the log lacks ' || CAST(expected - seen AS VARCHAR) || ' decisions' END FROM access
UNION ALL
SELECT u.tenant, u.source, u.hour, 'decision for each call', u.seen, u.expected, u.expected - u.seen,
  CASE WHEN u.expected > u.seen THEN CAST(u.expected - u.seen AS VARCHAR) || ' of ' || CAST(u.expected AS VARCHAR) || ' calls have no decision' END
FROM undecided u JOIN decided d ON d.tenant = u.tenant AND d.hour = u.hour
UNION ALL
SELECT tenant, source, hour, 'call for each allow', seen, expected, expected - seen,
  CASE WHEN expected > seen THEN CAST(expected - seen AS VARCHAR) || ' of ' || CAST(expected AS VARCHAR) || ' decisions were followed by no call that anybody saw' END FROM followed WHERE seen > 0
UNION ALL
SELECT tenant, source, hour, 'use of each token', seen, expected, expected - seen,
  CASE WHEN expected > seen THEN CAST(expected - seen AS VARCHAR) || ' of ' || CAST(expected AS VARCHAR) || ' tokens were given and not seen in any call' END FROM grants WHERE seen > 0
UNION ALL
SELECT tenant, source, hour, 'unbroken sequence', seen, expected, expected - seen,
  CASE WHEN expected > seen THEN CAST(expected - seen AS VARCHAR) || ' numbers of its own sequence are missing' END FROM sequences
UNION ALL
SELECT tenant, source, hour, 'not silent', CAST(0 AS BIGINT), CAST(1 AS BIGINT), CAST(1 AS BIGINT),
  'nothing was heard of ' || source || ' in this hour, and it is heard in ' || CAST(n AS VARCHAR) || ' others' FROM silent WHERE n > 2 * silent_hours
