#include "net/url.h"

#include <charconv>

namespace rejoin::net {
namespace {

Error bad(std::string_view text, std::string_view why) {
  return fail(Code::bad_argument, "the server address '" + std::string(text.substr(0, 200)) + "' " + std::string(why) +
                                      "; write it like https://sync.example.com or http://127.0.0.1:8080/prefix");
}

bool plain(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_'; }

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

}  // namespace

std::string Url::authority() const {
  std::string out = host.find(':') == std::string::npos ? host : "[" + host + "]";
  if (port != (tls ? 443 : 80)) out += ":" + std::to_string(port);
  return out;
}

std::string Url::text() const { return (tls ? "https://" : "http://") + authority() + prefix; }

Result<Url> parse_url(std::string_view text) {
  Url url;
  std::string_view rest = text;
  if (rest.starts_with("https://"))
    url.tls = true, rest.remove_prefix(8);
  else if (rest.starts_with("http://"))
    rest.remove_prefix(7);
  else
    return bad(text, "starts with neither http:// nor https://");

  if (rest.find_first_of("?#") != std::string_view::npos) return bad(text, "has a query or a fragment");
  const size_t slash = rest.find('/');
  std::string_view authority = rest.substr(0, slash);
  std::string_view path = slash == std::string_view::npos ? std::string_view() : rest.substr(slash);
  if (authority.find('@') != std::string_view::npos)
    return bad(text, "has a user name in it (the token goes elsewhere)");

  std::string_view port;
  if (authority.starts_with('[')) {
    const size_t end = authority.find(']');
    if (end == std::string_view::npos) return bad(text, "has an unclosed [");
    url.host = authority.substr(1, end - 1);
    for (char c : url.host)
      if (!((c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'f') || c == ':' || c == '.'))
        return bad(text, "has a malformed IPv6 address");
    port = authority.substr(end + 1);
    if (!port.empty() && port[0] != ':') return bad(text, "has something between ] and the port");
    if (url.host.find(':') == std::string::npos) return bad(text, "has a malformed IPv6 address");
  } else {
    const size_t colon = authority.find(':');
    for (char c : authority.substr(0, colon)) {
      if (!plain(lower(c))) return bad(text, "has a character in its host name that does not belong there");
      url.host.push_back(lower(c));
    }
    if (colon != std::string_view::npos) port = authority.substr(colon);
  }
  if (url.host.empty() || url.host.size() > 253) return bad(text, "has no usable host name");

  url.port = url.tls ? 443 : 80;
  if (!port.empty()) {
    port.remove_prefix(1);
    auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), url.port);
    if (error != std::errc() || end != port.data() + port.size() || url.port == 0)
      return bad(text, "has a port that is not a number from 1 to 65535");
  }

  while (!path.empty() && path.back() == '/') path.remove_suffix(1);
  for (char c : path)
    if (c <= ' ' || c >= 0x7f || c == '"' || c == '<' || c == '>' || c == '\\' || c == '^' || c == '`')
      return bad(text, "has a character in its path that must be written as %XX");
  url.prefix = path;
  return url;
}

bool is_loopback_host(std::string_view host) {
  if (host == "localhost" || host == "::1") return true;
  if (!host.starts_with("127.")) return false;
  for (char c : host)
    if (!(c >= '0' && c <= '9') && c != '.') return false;
  return true;
}

}  // namespace rejoin::net
