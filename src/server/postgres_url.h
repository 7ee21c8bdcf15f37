// Where a tenant's PostgreSQL database is.
#pragma once

#include <string>

#include "server/settings.h"

namespace rejoin::server {

bool database_per_tenant(const PostgresSettings& settings);
std::string postgres_url_of(const PostgresSettings& settings, const std::string& tenant);

}  // namespace rejoin::server
