// Who really asks, behind reverse proxies: X-Forwarded-For and X-Forwarded-Proto, believed only from addresses that
// were named.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "net/http_client.h"

namespace rejoin::net {

// A range of addresses, IPv4 as its IPv6 form (::ffff:a.b.c.d).
struct Cidr {
  std::array<uint8_t, 16> address{};
  unsigned bits = 128;
};

// "10.0.0.0/8", "2001:db8::/32", or one address. Errors: bad_argument, also when bits beyond the prefix are set.
Result<Cidr> parse_cidr(std::string_view text);

struct Origin {
  std::string address;
  bool loopback = false;
  bool https = false;
};

// `peer` is the socket's other end, `tls` whether the connection is. From the nearest hop outwards, the first address
// that is not in `trusted`; what comes after something that is no address is not believed.
Origin origin_of(const std::string& peer, bool tls, const HttpHeaders& headers, const std::vector<Cidr>& trusted);

}  // namespace rejoin::net
