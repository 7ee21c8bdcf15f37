#include "server/live_protocols.h"

namespace rejoin::server {

LiveProtocols live_protocols(std::string_view header) {
  constexpr std::string_view kToken = "rejoin.token.";
  LiveProtocols out;
  while (!header.empty()) {
    const size_t comma = header.find(',');
    std::string_view item = header.substr(0, comma);
    header = comma == std::string_view::npos ? std::string_view() : header.substr(comma + 1);
    while (!item.empty() && (item.front() == ' ' || item.front() == '\t')) item.remove_prefix(1);
    while (!item.empty() && (item.back() == ' ' || item.back() == '\t')) item.remove_suffix(1);
    if (item == kLiveProtocol) out.rejoin = true;
    if (item.starts_with(kToken)) out.token = item.substr(kToken.size());
  }
  return out;
}

}  // namespace rejoin::server
