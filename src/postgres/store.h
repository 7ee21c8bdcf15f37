// The PostgreSQL store: one tenant of it, as the sync sessions see it.
#pragma once

#include <memory>

#include "postgres/impersonate.h"
#include "postgres/work.h"
#include "sync/store.h"

namespace rejoin::postgres {

// `db` and `tenant` outlive the store. `auto_schema`: missing tables may be made from contracts. `as`: as whom the
// application's tables are read and written.
std::unique_ptr<sync::TenantStore> make_tenant_store(Connection& db, Tenant& tenant, bool auto_schema,
                                                     const Impersonation& as = {});

}  // namespace rejoin::postgres
