// The subprotocols of a live connection (RFC 6455 section 1.9).
#pragma once

#include <string>
#include <string_view>

namespace rejoin::server {

inline constexpr std::string_view kLiveProtocol = "rejoin.v1";

struct LiveProtocols {
  bool rejoin = false;  // the client offers it
  std::string token;    // of "rejoin.token.TOKEN", for clients that cannot set headers
};

// `header`: Sec-WebSocket-Protocol.
LiveProtocols live_protocols(std::string_view header);

}  // namespace rejoin::server
