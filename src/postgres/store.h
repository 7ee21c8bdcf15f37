// The PostgreSQL store: one tenant of it, as the sync sessions see it.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "postgres/impersonate.h"
#include "postgres/work.h"
#include "sync/store.h"
#include "sync/tenant_admin.h"

namespace rejoin::postgres {

class TenantStore : public sync::TenantStore {
 public:
  // Several pushes in one transaction (group commit); a reply for each, as if they had come one after the other. What
  // cannot be done together is done alone.
  virtual std::vector<Result<sync::PushReply>> push_together(std::span<const sync::PushRequest* const> requests) = 0;
};

// `db` and `tenant` outlive the store. `auto_schema`: missing tables may be made from contracts. `as`: as whom the
// application's tables are read and written.
std::unique_ptr<TenantStore> make_tenant_store(Connection& db, Tenant& tenant, bool auto_schema,
                                               const Impersonation& as = {});

// What `rejoin admin` asks of it. `db` and `tenant` outlive it. Errors besides: not_found (no such tenant).
std::unique_ptr<sync::TenantAdmin> make_tenant_admin(Connection& db, Tenant& tenant);
Result<std::vector<std::string>> tenant_names(Connection& db);

}  // namespace rejoin::postgres
