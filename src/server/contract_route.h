// GET and PUT /v1/contract: what devices are given to follow. docs/http.md is the reference.
#pragma once

#include <string>

#include "base/result.h"
#include "sync/server_session.h"

namespace rejoin::server {

// {"contract":{…},"fingerprint":"…","published":true}: the contract that was published, or else that of the tenant's
// tables, without the tables that the caller may neither read nor write.
Result<std::string> show_contract(const sync::Caller& caller, sync::TenantStore& store);
// Publishes. Errors: forbidden (the token is no administrator's), schema_refused (it is not additive, or this server
// makes no tables), bad_argument.
Result<std::string> put_contract(const std::string& json, const sync::Caller& caller,
                                 const sync::ServerSettings& settings, sync::TenantStore& store);

}  // namespace rejoin::server
