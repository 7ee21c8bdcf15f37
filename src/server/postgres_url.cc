#include "server/postgres_url.h"

#include "server/tenant_files.h"

namespace rejoin::server {
namespace {

constexpr std::string_view kPlaceholder = "{tenant}";

}  // namespace

bool database_per_tenant(const PostgresSettings& settings) {
  return settings.url.find(kPlaceholder) != std::string::npos;
}

std::string postgres_url_of(const PostgresSettings& settings, const std::string& tenant) {
  std::string url = settings.url;
  const size_t at = url.find(kPlaceholder);
  // The name as a file name is lower case and has nothing that an address could take for its own.
  if (at != std::string::npos) {
    std::string name = tenant_file_name(tenant);
    if (url.find("://") != std::string::npos)
      for (size_t i = 0; (i = name.find('%', i)) != std::string::npos; i += 3) name.replace(i, 1, "%25");
    url.replace(at, kPlaceholder.size(), name);
  }
  return url;
}

}  // namespace rejoin::server
