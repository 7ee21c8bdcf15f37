// Tenant names as file names, and in the addresses of databases.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace rejoin::server {

inline constexpr size_t kMostTenantBytes = 64;

// 1 to 64 bytes of UTF-8 without control characters. Errors: bad_argument.
Status check_tenant_name(std::string_view name);

// The name as a file name: lower-case letters, digits, '-' and '_' stand for themselves, every other byte is %xx. No
// two names give one file name, not even where file systems ignore case, and none has a dot or a slash in it.
std::string tenant_file_name(std::string_view name);
// The way back; nothing for a name that tenant_file_name did not make.
std::optional<std::string> tenant_of_file_name(std::string_view file);

// Names a tenant's database in an address of PostgreSQL with {tenant} in it; another stays as it is.
bool names_tenant_database(std::string_view url);
std::string tenant_database(const std::string& url, std::string_view tenant);

}  // namespace rejoin::server
