#include "server/tenant_files.h"

#include "base/bytes.h"
#include "server/utf8.h"

namespace rejoin::server {
namespace {

constexpr std::string_view kPlaceholder = "{tenant}";

bool stands_for_itself(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'; }

}  // namespace

Status check_tenant_name(std::string_view name) {
  if (name.empty() || name.size() > kMostTenantBytes)
    return fail(Code::bad_argument, "a tenant's name has 1 to " + std::to_string(kMostTenantBytes) +
                                        " bytes; this one has " + std::to_string(name.size()));
  for (char c : name)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      return fail(Code::bad_argument, "a tenant's name must not have control characters");
  if (!valid_utf8(name)) return fail(Code::bad_argument, "a tenant's name must be UTF-8");
  return {};
}

std::string tenant_file_name(std::string_view name) {
  std::string out;
  for (char c : name) {
    if (stands_for_itself(c))
      out += c;
    else
      out += "%" + to_hex(BytesView(&c, 1));
  }
  return out;
}

std::optional<std::string> tenant_of_file_name(std::string_view file) {
  std::string out;
  for (size_t i = 0; i < file.size(); ++i) {
    if (file[i] != '%') {
      out += file[i];
      continue;
    }
    const std::optional<Bytes> byte = from_hex(file.substr(i + 1, 2));
    if (!byte || byte->size() != 1) return std::nullopt;
    out += *byte;
    i += 2;
  }
  if (tenant_file_name(out) != file || !check_tenant_name(out).ok()) return std::nullopt;
  return out;
}

bool names_tenant_database(std::string_view url) { return url.find(kPlaceholder) != std::string_view::npos; }

std::string tenant_database(const std::string& url, std::string_view tenant) {
  const size_t at = url.find(kPlaceholder);
  if (at == std::string::npos) return url;
  // The name as a file name is lower case and has nothing that an address could take for its own.
  std::string name = tenant_file_name(tenant);
  if (url.find("://") != std::string::npos)
    for (size_t i = 0; (i = name.find('%', i)) != std::string::npos; i += 3) name.replace(i, 1, "%25");
  return std::string(url).replace(at, kPlaceholder.size(), name);
}

}  // namespace rejoin::server
