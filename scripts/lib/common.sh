# Shared by the scripts in this folder: source it, don't run it.
set -euo pipefail
REJOIN_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
cd "$REJOIN_ROOT"

say() { printf '%s\n' "$*" >&2; }
die() {
  say "error: $*"
  exit 1
}

# How many compilers or tests may run at once: one per core, and 1.5 GB of free memory each. REJOIN_JOBS overrides.
job_count() {
  if [ -n "${REJOIN_JOBS:-}" ]; then
    printf '%s\n' "$REJOIN_JOBS"
    return
  fi
  local cores free_mb by_memory
  cores="$(nproc 2>/dev/null || echo 1)"
  free_mb="$(awk '/^MemAvailable:/ {print int($2 / 1024)}' /proc/meminfo 2>/dev/null || true)"
  by_memory=$((${free_mb:-1500} / 1500))
  [ "$by_memory" -ge 1 ] || by_memory=1
  [ "$by_memory" -lt "$cores" ] && cores="$by_memory"
  printf '%s\n' "$cores"
}
