#include "server/token_verifier.h"

#include <utility>

namespace rejoin::server {

TokenVerifier::TokenVerifier(KeySet keys, ClaimRules rules)
    : keys_(std::make_shared<const KeySet>(std::move(keys))), rules_(std::move(rules)) {}

Result<std::unique_ptr<TokenVerifier>> TokenVerifier::start(const TokenSettings& settings, const std::string& secret,
                                                            Log& log) {
  KeySet keys = settings.keys;
  if (!secret.empty()) {
    Result<TokenKey> key = TokenKey::secret(secret);
    if (!key.ok()) return fail(key.error().code, "the secret " + key.error().message);
    REJOIN_TRY(keys.add(std::move(*key)));
  }
  std::unique_ptr<TokenVerifier> verifier(new TokenVerifier(keys, settings.rules));
  if (!settings.jwks_url.empty()) {
    REJOIN_ASSIGN(net::Url url, parse_jwks_url(settings.jwks_url));
    // An identity service signs for many applications with the same keys.
    if (settings.rules.audience.empty())
      log.write(LogLevel::warning, "audience_not_checked", {{"url", url.text()}, {"cure", "--jwt-audience"}});
    verifier->fetcher_ = std::make_unique<JwksFetcher>(std::move(url), std::move(keys), settings.fetch, log);
  }
  return verifier;
}

Result<Claims> TokenVerifier::verify(std::string_view token, int64_t now_ms) {
  REJOIN_ASSIGN(const SplitToken split, split_token(token));
  const std::shared_ptr<const KeySet> keys = fetcher_ ? fetcher_->keys() : keys_;
  Result<Claims> claims = verify_token(split, *keys, rules_, now_ms);
  // No published set has a key for HS256, so that a token signed so is no reason to fetch one. And one that names no
  // key is none either, unless there has never been a set.
  if (!claims.ok() && fetcher_ && split.algorithm != Algorithm::hs256) {
    const bool lacks = split.key_id.empty() ? !fetcher_->ready().ok() : !keys->has(split.key_id);
    if (lacks) REJOIN_TRY(fetcher_->missing());
    // A set that came between the two looks may have the key.
    if (const auto fresh = fetcher_->keys(); lacks && fresh != keys) return verify_token(split, *fresh, rules_, now_ms);
  }
  return claims;
}

Status TokenVerifier::ready() const { return fetcher_ ? fetcher_->ready() : Status(); }

void TokenVerifier::stop() {
  if (!fetcher_) return;
  keys_ = fetcher_->keys();
  fetcher_.reset();
}

}  // namespace rejoin::server
