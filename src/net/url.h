// Addresses of servers: http://host[:port][/prefix] and https://.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace rejoin::net {

struct Url {
  bool tls = false;
  std::string host;  // without the brackets of an IPv6 address
  uint16_t port = 0;
  std::string prefix;  // "" or "/a/b", without a slash at the end

  // host[:port] as the Host header wants it; the port is left out when it is the scheme's own.
  std::string authority() const;
  std::string text() const;
  friend bool operator==(const Url&, const Url&) = default;
};

// Errors: bad_argument naming what is wrong and the form that is expected. User names, queries and fragments are
// refused.
Result<Url> parse_url(std::string_view text);

// 127.0.0.0/8, ::1 and "localhost".
bool is_loopback_host(std::string_view host);

}  // namespace rejoin::net
