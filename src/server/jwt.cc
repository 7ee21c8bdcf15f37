#include "server/jwt.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <cmath>
#include <optional>

#include "server/base64.h"
#include "server/strict_json.h"
#include "server/tenant_files.h"

namespace rejoin::server {
namespace {

namespace json = boost::json;

Error refused(const char* why) { return fail(Code::unauthorized, std::string("the access token ") + why); }

Bytes hmac_sha256(BytesView secret, BytesView message) {
  unsigned char out[EVP_MAX_MD_SIZE];
  unsigned int n = 0;
  if (!HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
            reinterpret_cast<const unsigned char*>(message.data()), message.size(), out, &n))
    return {};
  return Bytes(reinterpret_cast<char*>(out), n);
}

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

bool printable(std::string_view name) {
  for (char c : name)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return false;
  return true;
}

Status check_header(std::string_view text) {
  const Result<json::value> header = parse_strict_json(text, 4);
  if (!header.ok() || !header->is_object()) return refused("has a malformed header");
  const json::object& object = header->get_object();
  const json::value* alg = object.if_contains("alg");
  if (!alg || !alg->is_string() || alg->get_string() != "HS256")
    return refused("is not signed with HS256, the only way accepted here");
  if (object.contains("crit")) return refused("demands extensions that are not known here");
  if (const json::value* typ = object.if_contains("typ");
      typ && (!typ->is_string() || (typ->get_string() != "JWT" && typ->get_string() != "jwt")))
    return refused("is not a JWT by its own header");
  return {};
}

Status read_name(const json::object& object, const char* claim, std::string* out) {
  const json::value* value = object.if_contains(claim);
  if (!value) return {};
  if (!value->is_string()) return refused("has a claim of the wrong type");
  const json::string& text = value->get_string();
  if (text.empty() || text.size() > kMostNameBytes || !printable(std::string_view(text.data(), text.size())))
    return refused("has a tenant or device name that is empty, too long or not printable");
  out->assign(text.data(), text.size());
  return {};
}

Status read_flag(const json::object& object, const char* claim, bool* out) {
  const json::value* value = object.if_contains(claim);
  if (!value) return {};
  if (!value->is_bool()) return refused("has a claim of the wrong type");
  *out = value->get_bool();
  return {};
}

Status check_not_before(const json::object& object, const char* claim, int64_t latest_s) {
  const json::value* value = object.if_contains(claim);
  if (!value) return {};
  const std::optional<int64_t> time = seconds(*value);
  if (!time) return refused("has a malformed time");
  if (*time > latest_s)
    return refused("is not valid yet; check the clocks of the server and of whoever made the token");
  return {};
}

Result<Claims> read_claims(std::string_view text, int64_t now_s, int64_t skew_s) {
  const Result<json::value> payload = parse_strict_json(text, 8);
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

  REJOIN_TRY(read_name(object, "tenant", &claims.tenant));
  std::string sub;
  REJOIN_TRY(read_name(object, "sub", &sub));
  REJOIN_TRY(read_name(object, "device", &claims.device));
  if (claims.device.empty()) claims.device = sub;
  if (!sub.empty() && sub != claims.device) return refused("names two devices (sub and device differ)");
  if (claims.tenant.empty()) return refused("names no tenant");
  if (claims.device.empty()) return refused("names no device (sub)");
  REJOIN_TRY(read_flag(object, "relay", &claims.relay));
  REJOIN_TRY(read_flag(object, "schema", &claims.schema));
  return claims;
}

}  // namespace

Result<Claims> verify_token(std::string_view token, BytesView secret, int64_t now_ms, int64_t skew_s) {
  if (secret.size() < kLeastSecretBytes) return refused("cannot be verified: the server's secret is too short");
  if (token.size() > kMostTokenBytes) return refused("is too long");
  const size_t first = token.find('.');
  const size_t second = first == std::string_view::npos ? first : token.find('.', first + 1);
  if (second == std::string_view::npos || token.find('.', second + 1) != std::string_view::npos)
    return refused("is malformed; it must be a JWT with three parts");
  const std::optional<Bytes> header = from_base64url(token.substr(0, first));
  const std::optional<Bytes> payload = from_base64url(token.substr(first + 1, second - first - 1));
  const std::optional<Bytes> signature = from_base64url(token.substr(second + 1));
  if (!header || !payload || !signature) return refused("is malformed; its parts must be base64url without padding");

  const Bytes expected = hmac_sha256(secret, token.substr(0, second));
  if (expected.size() != 32 || signature->size() != expected.size() ||
      CRYPTO_memcmp(expected.data(), signature->data(), expected.size()) != 0)
    return refused("does not verify; it was made with another secret, or changed");

  REJOIN_TRY(check_header(*header));
  return read_claims(*payload, now_ms / 1000, skew_s);
}

Result<std::string> mint_token(const Claims& claims, BytesView secret, int64_t now_ms) {
  if (secret.size() < kLeastSecretBytes)
    return fail(Code::bad_argument, "the secret has " + std::to_string(secret.size()) + " bytes; at least " +
                                        std::to_string(kLeastSecretBytes) + " are needed");
  for (const std::string* name : {&claims.tenant, &claims.device})
    if (name->empty() || name->size() > kMostNameBytes || !printable(*name))
      return fail(Code::bad_argument, "a token needs a tenant and a device, each 1 to " +
                                          std::to_string(kMostNameBytes) + " printable bytes");
  REJOIN_TRY(check_tenant_name(claims.tenant));
  if (claims.expires_s <= now_ms / 1000)
    return fail(Code::bad_argument, "the token would have expired already; give a later expiry");

  json::object payload;
  payload["tenant"] = claims.tenant;
  payload["sub"] = claims.device;
  if (claims.relay) payload["relay"] = true;
  if (claims.schema) payload["schema"] = true;
  payload["iat"] = now_ms / 1000;
  payload["exp"] = claims.expires_s;
  std::string token = base64url(R"({"alg":"HS256","typ":"JWT"})") + "." + base64url(json::serialize(payload));
  token += "." + base64url(hmac_sha256(secret, token));
  return token;
}

}  // namespace rejoin::server
