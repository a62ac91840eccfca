-- Alerts of one entity (an agent's jobs are its own) with less than a day between them. `score` adds up the severities of its rules (low 10, medium 25,
-- high 50, critical 80), each rule once; it is an incident from a score of 100, or with rules of three families.
WITH owned AS (
  -- What is found of a job is its agent's.
  SELECT * EXCEPT (entity), CASE WHEN entity LIKE 'job:%' THEN 'agent:' || split_part(substr(entity, 5), '/', 1) ELSE entity END AS entity FROM alerts
  WHERE status <> 'shadow' AND COALESCE(disposition, '') NOT IN ('benign', 'false-positive')
),
placed AS (
  SELECT *, CASE WHEN event_time - lag(event_time) OVER (PARTITION BY tenant, entity ORDER BY event_time, alert_id) <= INTERVAL '1 day' THEN 0 ELSE 1 END AS is_first
  FROM owned
),
grouped AS (SELECT *, SUM(is_first) OVER (PARTITION BY tenant, entity ORDER BY event_time, alert_id) AS number FROM placed),
rules AS (
  SELECT tenant, entity, number, rule_id, MAX(CASE severity WHEN 'critical' THEN 80 WHEN 'high' THEN 50 WHEN 'medium' THEN 25 ELSE 10 END) AS weight
  FROM grouped GROUP BY 1, 2, 3, 4
),
scores AS (
  SELECT tenant, entity, number, SUM(weight) AS score, COUNT(DISTINCT split_part(rule_id, '/', 1)) AS families, array_agg(rule_id ORDER BY rule_id) AS rules FROM rules GROUP BY 1, 2, 3
)
SELECT g.tenant, g.entity, first_value(g.alert_id ORDER BY g.event_time, g.alert_id) AS incident_id, MIN(g.event_time) AS first_at, MAX(g.event_time) AS last_at, COUNT(*) AS alerts,
  SUM(CASE WHEN g.status = 'open' THEN 1 ELSE 0 END) AS open_alerts, s.score, s.families, s.rules, s.score >= 100 OR s.families >= 3 AS is_incident,
  array_agg(g.alert_id ORDER BY g.event_time, g.alert_id) AS alert_ids
FROM grouped g JOIN scores s ON s.tenant = g.tenant AND s.entity = g.entity AND s.number = g.number
GROUP BY g.tenant, g.entity, g.number, s.score, s.families, s.rules
