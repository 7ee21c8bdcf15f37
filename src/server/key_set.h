// The keys that a server accepts tokens of.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "server/token_key.h"

namespace rejoin::server {

class KeySet {
 public:
  static constexpr size_t kMost = 64;

  // Errors: bad_argument (another key has the same id: a token could not say which it means; more than 64 keys).
  Status add(TokenKey key);
  Status add(const KeySet& other);

  bool empty() const { return keys_.empty(); }
  size_t size() const { return keys_.size(); }
  bool has(std::string_view id) const;
  // "HS256, RS256": what its keys are for.
  std::string algorithms() const;

  // Whether a key here signed `message` so. A key that has the token's id is the only one tried, and only for its own
  // algorithm; else all of the algorithm that have no id, and for a token that names none all of the algorithm. Not
  // more than 8 are tried. Errors: unauthorized.
  Status verify(Algorithm algorithm, std::string_view id, BytesView message, BytesView signature) const;

 private:
  std::vector<TokenKey> keys_;
};

}  // namespace rejoin::server
