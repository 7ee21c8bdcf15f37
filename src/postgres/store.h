// The PostgreSQL store: one tenant of it, as the sync sessions see it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "postgres/work.h"
#include "sync/store.h"
#include "sync/tenant_admin.h"

namespace rejoin::postgres {

// `db` and `tenant` outlive the store. `auto_schema`: missing tables may be made from contracts.
std::unique_ptr<sync::TenantStore> make_tenant_store(Connection& db, Tenant& tenant, bool auto_schema);

// What `rejoin admin` asks of it. `db` and `tenant` outlive it. Errors besides: not_found (no such tenant).
std::unique_ptr<sync::TenantAdmin> make_tenant_admin(Connection& db, Tenant& tenant);
Result<std::vector<std::string>> tenant_names(Connection& db);

}  // namespace rejoin::postgres
