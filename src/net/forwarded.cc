#include "net/forwarded.h"

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <charconv>
#include <optional>

namespace rejoin::net {
namespace {

namespace ip = boost::asio::ip;

std::array<uint8_t, 16> bytes_of(const ip::address& address) {
  const ip::address_v6 wide = address.is_v6() ? address.to_v6() : ip::make_address_v6(ip::v4_mapped, address.to_v4());
  std::array<uint8_t, 16> out{};
  const auto bytes = wide.to_bytes();
  std::copy(bytes.begin(), bytes.end(), out.begin());
  return out;
}

bool bit(const std::array<uint8_t, 16>& bytes, unsigned at) { return (bytes[at / 8] >> (7 - at % 8) & 1) != 0; }

bool within(const ip::address& address, const std::vector<Cidr>& ranges) {
  const auto bytes = bytes_of(address);
  return std::any_of(ranges.begin(), ranges.end(), [&](const Cidr& range) {
    for (unsigned i = 0; i < range.bits; ++i)
      if (bit(bytes, i) != bit(range.address, i)) return false;
    return true;
  });
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// The last item of a list that proxies append to.
std::string_view last_of(const std::string& list) {
  const size_t comma = list.rfind(',');
  const size_t start = comma == std::string::npos ? 0 : comma + 1;
  return trimmed(std::string_view(list).substr(start));
}

// All headers of a name are one list (RFC 9110 section 5.3).
std::string list_of(const HttpHeaders& headers, std::string_view name) {
  std::string out;
  for (const auto& [key, value] : headers)
    if (key == name) out += (out.empty() ? "" : ",") + value;
  return out;
}

// "192.0.2.1", "192.0.2.1:80", "2001:db8::1", "[2001:db8::1]:80"
std::optional<ip::address> address_in(std::string_view text) {
  if (text.starts_with('['))
    text = text.substr(1, text.find(']') == std::string_view::npos ? 0 : text.find(']') - 1);
  else if (std::count(text.begin(), text.end(), ':') == 1)
    text = text.substr(0, text.find(':'));
  boost::system::error_code error;
  const ip::address address = ip::make_address(std::string(text), error);
  return error ? std::nullopt : std::optional(address);
}

ip::address unmapped(const ip::address& address) {
  if (!address.is_v6() || !address.to_v6().is_v4_mapped()) return address;
  return ip::make_address_v4(ip::v4_mapped, address.to_v6());
}

}  // namespace

Result<Cidr> parse_cidr(std::string_view text) {
  const size_t slash = text.find('/');
  boost::system::error_code error;
  const ip::address address = ip::make_address(std::string(text.substr(0, slash)), error);
  const Error wrong = fail(Code::bad_argument, "'" + std::string(text.substr(0, 80)) +
                                                   "' is no range of addresses; write one like 10.0.0.0/8, "
                                                   "2001:db8::/32 or 192.0.2.7");
  if (error) return wrong;
  Cidr out{bytes_of(address), 128};
  const unsigned offset = address.is_v4() ? 96 : 0;
  if (slash != std::string_view::npos) {
    const std::string_view digits = text.substr(slash + 1);
    unsigned bits = 0;
    const auto [end, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), bits);
    if (failed != std::errc() || end != digits.data() + digits.size() || bits > 128 - offset) return wrong;
    out.bits = bits + offset;
  }
  for (unsigned i = out.bits; i < 128; ++i)
    if (bit(out.address, i))
      return fail(Code::bad_argument, "'" + std::string(text) + "' has bits set beyond its prefix of " +
                                          std::to_string(out.bits - offset) + "; write the first address of the range");
  return out;
}

Origin origin_of(const std::string& peer, bool tls, const HttpHeaders& headers, const std::vector<Cidr>& trusted) {
  Origin out{peer, false, tls};
  boost::system::error_code error;
  ip::address current = ip::make_address(peer, error);
  if (error) return out;
  if (!trusted.empty() && within(current, trusted)) {
    std::string hops = list_of(headers, "x-forwarded-for");
    while (!hops.empty() && within(current, trusted)) {
      const std::optional<ip::address> next = address_in(last_of(hops));
      if (!next) break;
      current = *next;
      const size_t comma = hops.rfind(',');
      hops.resize(comma == std::string::npos ? 0 : comma);
    }
    std::string protocols = list_of(headers, "x-forwarded-proto");
    if (!protocols.empty()) out.https = last_of(protocols) == "https";
  }
  current = unmapped(current);
  out.address = current.to_string();
  out.loopback = current.is_loopback();
  return out;
}

}  // namespace rejoin::net
