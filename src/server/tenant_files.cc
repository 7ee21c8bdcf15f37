#include "server/tenant_files.h"

#include "base/bytes.h"

namespace rejoin::server {
namespace {

bool stands_for_itself(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'; }

// Well-formed UTF-8 (Unicode 15, table 3-7).
bool valid_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto at = [&](size_t k) { return k < text.size() ? static_cast<unsigned char>(text[k]) : 0u; };
    const unsigned lead = at(i);
    unsigned low = 0x80, high = 0xbf;
    size_t more;
    if (lead < 0x80)
      more = 0;
    else if (lead >= 0xc2 && lead <= 0xdf)
      more = 1;
    else if (lead >= 0xe0 && lead <= 0xef)
      more = 2, low = lead == 0xe0 ? 0xa0 : 0x80, high = lead == 0xed ? 0x9f : 0xbf;
    else if (lead >= 0xf0 && lead <= 0xf4)
      more = 3, low = lead == 0xf0 ? 0x90 : 0x80, high = lead == 0xf4 ? 0x8f : 0xbf;
    else
      return false;
    for (size_t k = 1; k <= more; ++k, low = 0x80, high = 0xbf)
      if (at(i + k) < low || at(i + k) > high) return false;
    i += more + 1;
  }
  return true;
}

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

}  // namespace rejoin::server
