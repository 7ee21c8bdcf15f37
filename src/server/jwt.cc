#include "server/jwt.h"

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <optional>

#include "server/base64.h"
#include "server/strict_json.h"
#include "server/tenant_files.h"

namespace rejoin::server {
namespace {

namespace json = boost::json;

Error refused(const char* why) { return fail(Code::unauthorized, std::string("the access token ") + why); }

Status read_header(std::string_view text, SplitToken& token) {
  const Result<json::value> header = parse_strict_json(text, 4);
  if (!header.ok() || !header->is_object()) return refused("has a malformed header");
  const json::object& object = header->get_object();
  const json::value* alg = object.if_contains("alg");
  std::optional<Algorithm> algorithm;
  if (alg && alg->is_string()) algorithm = algorithm_from({alg->get_string().data(), alg->get_string().size()});
  if (!algorithm) return refused("is not signed with HS256, RS256, ES256 or EdDSA, the only ways accepted here");
  token.algorithm = *algorithm;
  if (object.contains("crit")) return refused("demands extensions that are not known here");
  // "at+jwt" is RFC 9068's.
  if (const json::value* typ = object.if_contains("typ");
      typ && (!typ->is_string() ||
              (typ->get_string() != "JWT" && typ->get_string() != "jwt" && typ->get_string() != "at+jwt")))
    return refused("is not a JWT by its own header");
  if (const json::value* kid = object.if_contains("kid")) {
    if (!kid->is_string() || kid->get_string().size() > kMostKeyIdBytes)
      return refused("has a malformed header: its kid is no text, or too long");
    token.key_id.assign(kid->get_string().data(), kid->get_string().size());
  }
  return {};
}

}  // namespace

Result<SplitToken> split_token(std::string_view token) {
  if (token.size() > kMostTokenBytes) return refused("is too long");
  const size_t first = token.find('.');
  const size_t second = first == std::string_view::npos ? first : token.find('.', first + 1);
  if (second == std::string_view::npos || token.find('.', second + 1) != std::string_view::npos)
    return refused("is malformed; it must be a JWT with three parts");
  const std::optional<Bytes> header = from_base64url(token.substr(0, first));
  std::optional<Bytes> payload = from_base64url(token.substr(first + 1, second - first - 1));
  std::optional<Bytes> signature = from_base64url(token.substr(second + 1));
  if (!header || !payload || !signature) return refused("is malformed; its parts must be base64url without padding");
  SplitToken out;
  out.signed_part = token.substr(0, second);
  out.payload = std::move(*payload);
  out.signature = std::move(*signature);
  REJOIN_TRY(read_header(*header, out));
  return out;
}

Result<Claims> verify_token(const SplitToken& token, const KeySet& keys, const ClaimRules& rules, int64_t now_ms,
                            int64_t skew_s) {
  REJOIN_TRY(keys.verify(token.algorithm, token.key_id, token.signed_part, token.signature));
  return read_claims(token.payload, rules, now_ms / 1000, skew_s);
}

Result<Claims> verify_token(std::string_view token, BytesView secret, int64_t now_ms, int64_t skew_s) {
  Result<TokenKey> key = TokenKey::secret(std::string(secret));
  if (!key.ok()) return refused("cannot be verified: the server's secret is too short");
  KeySet keys;
  REJOIN_TRY(keys.add(std::move(*key)));
  REJOIN_ASSIGN(const SplitToken split, split_token(token));
  return verify_token(split, keys, {}, now_ms, skew_s);
}

Result<std::string> mint_token(const Claims& claims, BytesView secret, int64_t now_ms) {
  if (secret.size() < kLeastSecretBytes)
    return fail(Code::bad_argument, "the secret has " + std::to_string(secret.size()) + " bytes; at least " +
                                        std::to_string(kLeastSecretBytes) + " are needed");
  for (const std::string* name : {&claims.tenant, &claims.device})
    if (name->empty() || name->size() > kMostNameBytes || !printable_name(*name))
      return fail(Code::bad_argument, "a token needs a tenant and a device, each 1 to " +
                                          std::to_string(kMostNameBytes) + " printable bytes");
  REJOIN_TRY(check_tenant_name(claims.tenant));
  if (claims.role.size() > kMostNameBytes || !printable_name(claims.role))
    return fail(Code::bad_argument,
                "a token's role has at most " + std::to_string(kMostNameBytes) + " bytes, all printable");
  if (claims.expires_s <= now_ms / 1000)
    return fail(Code::bad_argument, "the token would have expired already; give a later expiry");

  json::object payload;
  payload["tenant"] = claims.tenant;
  payload["sub"] = claims.device;
  if (claims.relay) payload["relay"] = true;
  if (claims.schema) payload["schema"] = true;
  if (!claims.role.empty()) payload["role"] = claims.role;
  if (claims.tables.limited()) {
    json::object tables;
    for (const auto& [name, right] : claims.tables.named())
      tables[name] = right.push ? "write" : right.pull ? "read" : "none";
    payload["tables"] = std::move(tables);
  }
  payload["iat"] = now_ms / 1000;
  payload["exp"] = claims.expires_s;
  std::string token = base64url(R"({"alg":"HS256","typ":"JWT"})") + "." + base64url(json::serialize(payload));
  token += "." + base64url(hmac_sha256(secret, token));
  return token;
}

}  // namespace rejoin::server
