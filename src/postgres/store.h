// The PostgreSQL store: one tenant of it, as the sync sessions see it.
#pragma once

#include <memory>

#include "postgres/work.h"
#include "sync/store.h"

namespace rejoin::postgres {

// `db` and `tenant` outlive the store. `auto_schema`: missing tables may be made from contracts.
std::unique_ptr<sync::TenantStore> make_tenant_store(Connection& db, Tenant& tenant, bool auto_schema);

}  // namespace rejoin::postgres
