// rejoin pg compact: what a server does by itself, now and through all.
#include <algorithm>

#include "postgres/admin.h"
#include "postgres/fold.h"
#include "postgres/purge.h"
#include "postgres/store.h"

namespace rejoin::postgres {
namespace {

constexpr int64_t kFirstPurging = 4;  // version of the schema

Result<std::vector<std::string>> tenants_of(Connection& db, const std::string& tenant) {
  REJOIN_ASSIGN(std::vector<std::string> names, tenant_names(db));
  if (tenant.empty()) return names;
  if (std::find(names.begin(), names.end(), tenant) == names.end())
    return fail(Code::not_found, "there is no tenant " + tenant);
  return std::vector<std::string>{tenant};
}

Status set_keep_days(Connection& db, int64_t days) {
  REJOIN_TRY(db.query("UPDATE rejoin.meta SET keep_days = $1::integer", Params().integer(days)));
  return {};
}

// Of one tenant.
Status compact_tenant(Connection& db, Tenant& tenant, const Purge& purge, const std::function<void()>& progress,
                      Compacted& out) {
  {
    REJOIN_ASSIGN(Work work, Work::begin(db, tenant, Work::Mode::merge));
    if (work.outbox_waits) REJOIN_TRY(fold(work));
    REJOIN_ASSIGN(const int64_t gone, compact_log(work, purge.now_ms, purge.keep_days));
    // Nothing is kept of it.
    if (!purge.dry_run) REJOIN_TRY(work.commit());
    out.log_rows += gone;
  }
  PurgePlace place;
  for (bool more = true; more;) {
    REJOIN_ASSIGN(const Purged purged, purge_some(db, tenant, purge, place));
    out.deletions += purged.deletions;
    more = purged.more;
    progress();
  }
  return {};
}

}  // namespace

Result<Compacted> compact(Connection& db, const CompactRequest& request, Clock& clock, Random& random,
                          const std::function<void(const Compacted&)>& progress) {
  REJOIN_ASSIGN(const int64_t version, installed_version(db));
  if (version < kFirstPurging)
    return fail(Code::not_found,
                "the schema rejoin in this PostgreSQL database is too old to forget anything; run: "
                "rejoin pg init");
  if (request.keep_days && (*request.keep_days < 0 || *request.keep_days > kLongestKeepDays))
    return fail(Code::bad_argument, "--keep-days is a number of days from 0 to " + std::to_string(kLongestKeepDays));
  REJOIN_ASSIGN(const std::vector<std::string> names, tenants_of(db, request.tenant));
  if (request.keep_days && !request.dry_run) REJOIN_TRY(set_keep_days(db, *request.keep_days));
  Compacted out;
  const Purge purge{clock.now_ms(), request.keep_days, request.dry_run};
  for (const std::string& name : names) {
    Tenant tenant(name, clock, random);
    REJOIN_TRY(compact_tenant(
        db, tenant, purge,
        [&] {
          if (progress) progress(out);
        },
        out));
    ++out.tenants;
  }
  return out;
}

}  // namespace rejoin::postgres
