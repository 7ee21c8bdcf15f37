#include "server/jwks.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <optional>

#include "server/base64.h"
#include "server/strict_json.h"

namespace rejoin::server {
namespace {

namespace json = boost::json;

// Empty when it is not there or no text.
std::string_view text_of(const json::object& key, const char* name) {
  const json::value* value = key.if_contains(name);
  if (!value || !value->is_string()) return {};
  return {value->get_string().data(), value->get_string().size()};
}

std::optional<Algorithm> algorithm_of(const json::object& key) {
  const std::string_view kty = text_of(key, "kty"), crv = text_of(key, "crv");
  if (kty == "RSA") return Algorithm::rs256;
  if (kty == "EC" && crv == "P-256") return Algorithm::es256;
  if (kty == "OKP" && crv == "Ed25519") return Algorithm::eddsa;
  return std::nullopt;
}

// Whether the key says of itself that it verifies signatures of this algorithm, or says nothing.
bool meant_for(const json::object& key, Algorithm algorithm) {
  if (key.contains("use") && text_of(key, "use") != "sig") return false;
  // RFC 9864 gives EdDSA with this curve a name of its own.
  if (key.contains("alg") && text_of(key, "alg") != algorithm_name(algorithm) &&
      !(algorithm == Algorithm::eddsa && text_of(key, "alg") == "Ed25519"))
    return false;
  const json::value* operations = key.if_contains("key_ops");
  if (!operations) return true;
  if (!operations->is_array()) return false;
  const json::array& all = operations->get_array();
  return std::any_of(all.begin(), all.end(),
                     [](const json::value& one) { return one.is_string() && one.get_string() == "verify"; });
}

Result<Bytes> number_of(const json::object& key, const char* name) {
  const std::optional<Bytes> bytes = from_base64url(text_of(key, name));
  if (!bytes || bytes->empty())
    return fail(Code::bad_argument, "has no '" + std::string(name) + "' in base64url without padding");
  return *bytes;
}

Result<TokenKey> read_key(const json::object& key, Algorithm algorithm) {
  if (algorithm == Algorithm::rs256) {
    REJOIN_ASSIGN(const Bytes n, number_of(key, "n"));
    REJOIN_ASSIGN(const Bytes e, number_of(key, "e"));
    return TokenKey::rsa(n, e);
  }
  REJOIN_ASSIGN(const Bytes x, number_of(key, "x"));
  if (algorithm == Algorithm::eddsa) return TokenKey::ed25519(x);
  REJOIN_ASSIGN(const Bytes y, number_of(key, "y"));
  return TokenKey::p256(x, y);
}

}  // namespace

Result<Jwks> parse_jwks(std::string_view text) {
  if (text.size() > kMostJwksBytes)
    return fail(Code::too_large, "is larger than " + std::to_string(kMostJwksBytes) + " bytes");
  const Result<json::value> document = parse_strict_json(text, 16, 1 << 14);
  if (!document.ok()) return fail(document.error().code, "is no key set: " + document.error().message);
  const json::object* object = document->if_object();
  const json::value* keys = object ? object->if_contains("keys") : nullptr;
  if (!keys || !keys->is_array()) return fail(Code::corrupt, "is no key set: it has no array 'keys' (RFC 7517)");

  Jwks out;
  size_t count = 0;
  for (const json::value& entry : keys->get_array()) {
    ++count;
    if (!entry.is_object()) return fail(Code::corrupt, "is no key set: one of its keys is no object");
    const json::object& key = entry.get_object();
    const std::optional<Algorithm> algorithm = algorithm_of(key);
    if (!algorithm || !meant_for(key, *algorithm)) continue;
    const std::string id(text_of(key, "kid"));
    const std::string name = "key " + (id.empty() ? std::to_string(count) : "'" + id.substr(0, 64) + "'") + " ";
    if (id.size() > kMostKeyIdBytes || (key.contains("kid") && id.empty())) {
      out.refused.push_back(name + "has a kid that is no text, empty or too long");
      continue;
    }
    Result<TokenKey> made = read_key(key, *algorithm);
    if (!made.ok()) {
      out.refused.push_back(name + made.error().message);
      continue;
    }
    made->set_id(id);
    if (Status added = out.keys.add(std::move(*made)); !added.ok())
      return fail(added.error().code, "cannot be used: " + added.error().message);
  }
  return out;
}

}  // namespace rejoin::server
