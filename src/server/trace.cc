#include "server/trace.h"

namespace rejoin::server {
namespace {

bool is_hex(std::string_view text) { return text.find_first_not_of("0123456789abcdef") == std::string_view::npos; }
bool is_zero(std::string_view text) { return text.find_first_not_of('0') == std::string_view::npos; }

}  // namespace

// 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
std::optional<TraceParent> parse_traceparent(std::string_view header) {
  if (header.size() < 55 || header[2] != '-' || header[35] != '-' || header[52] != '-') return std::nullopt;
  const std::string_view version = header.substr(0, 2), trace = header.substr(3, 32), span = header.substr(36, 16);
  if (!is_hex(version) || version == "ff" || !is_hex(trace) || is_zero(trace) || !is_hex(span) || is_zero(span) ||
      !is_hex(header.substr(53, 2)))
    return std::nullopt;
  // Later versions may have more fields behind.
  if (header.size() > 55 && (version == "00" || header[55] != '-')) return std::nullopt;
  return TraceParent{std::string(trace), std::string(span)};
}

}  // namespace rejoin::server
