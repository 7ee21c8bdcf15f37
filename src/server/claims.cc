#include "server/claims.h"

#include <algorithm>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <cmath>
#include <optional>

#include "server/strict_json.h"

namespace rejoin::server {
namespace {

namespace json = boost::json;

constexpr size_t kMostDepth = 16;

Error refused(const std::string& why) { return fail(Code::unauthorized, "the access token " + why); }

std::string_view view(const json::string& text) { return {text.data(), text.size()}; }

// A NumericDate: whole or fractional seconds in a sane range.
std::optional<int64_t> seconds(const json::value& value) {
  double number;
  if (value.is_int64())
    number = static_cast<double>(value.get_int64());
  else if (value.is_double())
    number = value.get_double();
  else
    return std::nullopt;
  if (!std::isfinite(number) || number < 0 || number > 253402300799.0) return std::nullopt;  // the end of the year 9999
  return static_cast<int64_t>(number);
}

const json::value* find(const json::object& claims, const ClaimPath& path) {
  const json::object* object = &claims;
  const json::value* value = nullptr;
  for (const std::string& name : path) {
    if (!object) return nullptr;
    value = object->if_contains(name);
    if (!value) return nullptr;
    object = value->if_object();
  }
  return value;
}

Status read_name(const json::object& claims, const ClaimPath& path, std::string* out) {
  const json::value* value = find(claims, path);
  if (!value) return {};
  if (!value->is_string()) return refused("has a claim of the wrong type (" + claim_path_text(path) + ")");
  const std::string_view text = view(value->get_string());
  if (text.empty() || text.size() > kMostNameBytes || !printable_name(text))
    return refused("has a name that is empty, too long or not printable (" + claim_path_text(path) + ")");
  out->assign(text);
  return {};
}

Status read_flag(const json::object& claims, const ClaimPath& path, bool* out) {
  const json::value* value = find(claims, path);
  if (!value) return {};
  if (!value->is_bool()) return refused("has a claim of the wrong type (" + claim_path_text(path) + ")");
  *out = value->get_bool();
  return {};
}

// {"todos": "write", "audit": "read", "*": "none"}
Status read_rights(const json::object& claims, const ClaimPath& path, sync::TableRights* out) {
  const json::value* value = find(claims, path);
  if (!value) return {};
  const std::string name = claim_path_text(path);
  if (!value->is_object()) return refused("has a claim of the wrong type (" + name + ")");
  for (const auto& [table, right] : value->get_object()) {
    const std::string_view word = right.is_string() ? view(right.get_string()) : std::string_view();
    if (word != "write" && word != "read" && word != "none")
      return refused("has a table's right that is neither write, read nor none (" + name + ")");
    out->set({table.data(), table.size()}, {word != "none", word == "write"});
  }
  return {};
}

Status check_not_before(const json::object& claims, const char* name, int64_t latest_s) {
  const json::value* value = claims.if_contains(name);
  if (!value) return {};
  const std::optional<int64_t> time = seconds(*value);
  if (!time) return refused("has a malformed time");
  if (*time > latest_s)
    return refused("is not valid yet; check the clocks of the server and of whoever made the token");
  return {};
}

Status check_audience(const json::object& claims, const std::string& wanted) {
  if (wanted.empty()) return {};
  const json::value* aud = claims.if_contains("aud");
  if (!aud) return refused("says not for whom it is (aud), which this server asks for");
  bool found = false;
  if (aud->is_string()) {
    found = view(aud->get_string()) == wanted;
  } else if (aud->is_array()) {
    for (const json::value& one : aud->get_array()) {
      if (!one.is_string()) return refused("has a claim of the wrong type (aud)");
      found = found || view(one.get_string()) == wanted;
    }
  } else {
    return refused("has a claim of the wrong type (aud)");
  }
  if (!found) return refused("is for another audience (aud) than this server");
  return {};
}

Status check_issuer(const json::object& claims, const std::string& wanted) {
  if (wanted.empty()) return {};
  const json::value* iss = claims.if_contains("iss");
  if (!iss) return refused("names no issuer (iss), which this server asks for");
  if (!iss->is_string()) return refused("has a claim of the wrong type (iss)");
  if (view(iss->get_string()) != wanted) return refused("is of another issuer (iss) than this server accepts");
  return {};
}

Status read_device(const json::object& claims, const ClaimRules& rules, std::string* device) {
  std::string names;
  for (const ClaimPath& path : rules.device) {
    std::string name;
    REJOIN_TRY(read_name(claims, path, &name));
    names += (names.empty() ? "" : " or ") + claim_path_text(path);
    if (device->empty())
      *device = name;
    else if (rules.devices_agree && !name.empty() && name != *device)
      return refused("names two devices (" + names + " differ)");
  }
  if (device->empty()) return refused("names no device (" + names + ")");
  return {};
}

}  // namespace

bool printable_name(std::string_view name) {
  return std::none_of(name.begin(), name.end(),
                      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

Result<ClaimPath> parse_claim_path(std::string_view text) {
  ClaimPath path;
  if (text.starts_with("http://") || text.starts_with("https://")) {
    path.emplace_back(text);
  } else {
    for (size_t at = 0; at <= text.size();) {
      const size_t end = std::min(text.find('.', at), text.size());
      path.emplace_back(text.substr(at, end - at));
      at = end + 1;
    }
  }
  if (path.size() >= kMostDepth || !printable_name(text) ||
      std::any_of(path.begin(), path.end(), [](const std::string& name) { return name.empty(); }))
    return fail(Code::bad_argument, "'" + std::string(text.substr(0, 200)) +
                                        "' names no claim; write its name, or the way to it with dots, like "
                                        "app_metadata.tenant");
  return path;
}

std::string claim_path_text(const ClaimPath& path) {
  std::string out;
  for (const std::string& name : path) out += (out.empty() ? "" : ".") + name;
  return out;
}

Result<Claims> read_claims(BytesView text, const ClaimRules& rules, int64_t now_s, int64_t skew_s) {
  const Result<json::value> payload = parse_strict_json(text, kMostDepth);
  if (!payload.ok() || !payload->is_object()) return refused("has malformed claims");
  const json::object& object = payload->get_object();

  Claims claims;
  const json::value* exp = object.if_contains("exp");
  if (!exp) return refused("has no expiry (exp)");
  const std::optional<int64_t> expires = seconds(*exp);
  if (!expires) return refused("has a malformed time");
  if (*expires + skew_s < now_s) return refused("has expired; get a new one");
  claims.expires_s = *expires;
  REJOIN_TRY(check_not_before(object, "nbf", now_s + skew_s));
  REJOIN_TRY(check_not_before(object, "iat", now_s + skew_s));
  REJOIN_TRY(check_audience(object, rules.audience));
  REJOIN_TRY(check_issuer(object, rules.issuer));

  REJOIN_TRY(read_name(object, rules.tenant, &claims.tenant));
  if (claims.tenant.empty()) return refused("names no tenant (" + claim_path_text(rules.tenant) + ")");
  REJOIN_TRY(read_device(object, rules, &claims.device));
  REJOIN_TRY(read_flag(object, rules.relay, &claims.relay));
  REJOIN_TRY(read_flag(object, rules.schema, &claims.schema));
  REJOIN_TRY(read_rights(object, rules.tables, &claims.tables));
  // Issuers use this name for things of many shapes; only a name is one here.
  if (const json::value* role = object.if_contains("role"); role && role->is_string() && !role->get_string().empty())
    REJOIN_TRY(read_name(object, {"role"}, &claims.role));
  claims.json = text;
  return claims;
}

}  // namespace rejoin::server
