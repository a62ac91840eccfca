#!/usr/bin/env bash
# Measures the rules on AgentDojo: traffic, import, one step of the detector, report. Takes some minutes.
#   tests/quality/run.sh FOLDER [SEED [task|suite]]
# Needs python with tests/quality/requirements.txt ($PYTHON, else python3) and the binary ($VIALOG, else target/debug/vialog).
set -euo pipefail
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
folder=${1:?which folder} seed=${2:-1} job=${3:-task}
vialog=${VIALOG:-$here/../../target/debug/vialog}
[ ! -e "$folder/lake" ] || { echo "there is a lake in $folder already" >&2; exit 1; }

"${PYTHON:-python3}" "$here/agentdojo.py" --out "$folder" --seed "$seed" --job "$job"
"$vialog" import --lake "$folder/lake" --adapter toolhive "$folder/toolhive.jsonl"
"$vialog" detect --once --lake "$folder/lake" --inventory "$folder/inventory" > "$folder/alerts.txt"
report() { "$vialog" rules report --lake "$folder/lake" --labels "$folder/labels.jsonl" "$@"; }
splits=(tune mixed report)
[ "$job" = task ] || splits+=(first)
for split in "${splits[@]}"; do
  echo; echo "== $split, new tool or new destination"
  report --split "$split" tool/new_tool tool/new_destination
done
echo; echo "== all sessions, new tool or new destination"
report tool/new_tool tool/new_destination
echo; echo "== all sessions, all rules"
report
