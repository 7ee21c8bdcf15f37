// Decides whether a caller's token is good: the keys of all sources, and the rules its claims are read by.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/log.h"
#include "server/jwks_fetcher.h"
#include "server/jwt.h"

namespace rejoin::server {

// Where keys come from besides the secret, and the rules of all tokens.
struct TokenSettings {
  KeySet keys;  // of files; see key_files.h
  std::string jwks_url;
  JwksFetchOptions fetch;
  ClaimRules rules;

  bool any_key() const { return !keys.empty() || !jwks_url.empty(); }
};

// Thread-safe.
class TokenVerifier {
 public:
  // `secret` may be empty. Errors: bad_argument.
  static Result<std::unique_ptr<TokenVerifier>> start(const TokenSettings& settings, const std::string& secret,
                                                      Log& log);

  // False: it knows no key and never will.
  bool any_key() const { return fetcher_ || !keys_->empty(); }
  // Never waits for the network. Takes well below a millisecond. Errors: unauthorized; overloaded (the token names a
  // key that may be among those that are being fetched: come again).
  Result<Claims> verify(std::string_view token, int64_t now_ms);
  // Whether it has the keys it should have. Errors: overloaded.
  Status ready() const;
  // Ends the fetching; the keys stay. Not while another thread calls anything here.
  void stop();

 private:
  TokenVerifier(KeySet keys, ClaimRules rules);

  std::shared_ptr<const KeySet> keys_;  // without those that are fetched
  const ClaimRules rules_;
  std::unique_ptr<JwksFetcher> fetcher_;
};

}  // namespace rejoin::server
