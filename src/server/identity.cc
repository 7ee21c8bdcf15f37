#include "server/identity.h"

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include "server/strict_json.h"
#include "server/token_key.h"

namespace rejoin::server {
namespace {

namespace json = boost::json;

// The same text for the same claims, in whatever order they were written.
std::string canonical(const json::value& value) {
  std::string out;
  if (const json::object* object = value.if_object()) {
    std::vector<std::string> members;
    for (const auto& [name, member] : *object)
      members.push_back(json::serialize(json::value(name)) + ":" + canonical(member));
    std::sort(members.begin(), members.end());
    for (const std::string& member : members) out += (out.empty() ? "" : ",") + member;
    return "{" + out + "}";
  }
  if (const json::array* array = value.if_array()) {
    for (const json::value& element : *array) out += (out.empty() ? "" : ",") + canonical(element);
    return "[" + out + "]";
  }
  return json::serialize(value);
}

std::string lasting_claims(const std::string& text) {
  Result<json::value> claims = parse_strict_json(text);
  if (!claims.ok() || !claims->is_object()) return {};
  for (const char* name : {"exp", "iat", "nbf", "jti"}) claims->as_object().erase(name);
  return canonical(*claims);
}

}  // namespace

sync::Identity identity_of(const Claims& claims, const Settings& settings) {
  sync::Identity who;
  who.role = claims.role;
  if (!claims.json.empty()) who.claims = claims.json;
  who.tables = claims.tables;
  who.tables.intersect(settings.directions);
  if (!who.tables.limited() && !settings.postgres.impersonate) return who;
  std::string seen = who.tables.text();
  if (settings.postgres.impersonate)
    seen +=
        "\n" + (who.role.empty() ? settings.postgres.impersonate_role : who.role) + "\n" + lasting_claims(who.claims);
  who.view = std::max<uint64_t>(1, load_be64(hmac_sha256("rejoin view", seen).data()));
  return who;
}

}  // namespace rejoin::server
