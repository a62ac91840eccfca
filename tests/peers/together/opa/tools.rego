# Decides on the amounts in MCP tool calls, queried as /v1/data/mcp/tools/decision.
package mcp.tools

limit := 100

decision := {"allow": false, "reason": sprintf("the amount is over the limit of %v", [limit])} if {
	input.arguments.amount > limit
} else := {"allow": true, "reason": "within the limits"}
