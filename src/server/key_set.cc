#include "server/key_set.h"

#include <algorithm>

namespace rejoin::server {
namespace {

// A token that names no key costs one verification for each; strangers send tokens too.
constexpr size_t kMostTries = 8;

Error refused(const std::string& why) { return fail(Code::unauthorized, "the access token " + why); }

// A key's id comes from a stranger here.
std::string shown(std::string_view id) {
  const bool harmless = id.size() <= 64 && std::all_of(id.begin(), id.end(), [](char c) {
                          return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                                 c == '-' || c == '_' || c == '.';
                        });
  return harmless ? " (kid " + std::string(id) + ")" : " (kid)";
}

}  // namespace

Status KeySet::add(TokenKey key) {
  if (!key.id().empty() && has(key.id()))
    return fail(Code::bad_argument, "two keys have the id (kid) '" + key.id() + "'; give each an id of its own");
  if (keys_.size() >= kMost)
    return fail(Code::bad_argument, "there are more than " + std::to_string(kMost) + " keys; leave old ones out");
  keys_.push_back(std::move(key));
  return {};
}

Status KeySet::add(const KeySet& other) {
  for (const TokenKey& key : other.keys_) REJOIN_TRY(add(key));
  return {};
}

bool KeySet::has(std::string_view id) const {
  return std::any_of(keys_.begin(), keys_.end(), [&](const TokenKey& key) { return key.id() == id; });
}

std::string KeySet::algorithms() const {
  std::string out;
  for (Algorithm algorithm : {Algorithm::hs256, Algorithm::rs256, Algorithm::es256, Algorithm::eddsa})
    if (std::any_of(keys_.begin(), keys_.end(), [&](const TokenKey& key) { return key.algorithm() == algorithm; }))
      out.append(out.empty() ? "" : ", ").append(algorithm_name(algorithm));
  return out;
}

Status KeySet::verify(Algorithm algorithm, std::string_view id, BytesView message, BytesView signature) const {
  const bool named = !id.empty() && has(id);
  std::vector<const TokenKey*> candidates;
  bool any_of_algorithm = false;
  for (const TokenKey& key : keys_) {
    if (key.algorithm() != algorithm) continue;
    any_of_algorithm = true;
    const bool meant = named ? key.id() == id : id.empty() || key.id().empty();
    if (meant) candidates.push_back(&key);
  }
  if (keys_.empty()) return refused("cannot be verified: this server has no key");
  if (named && candidates.empty())
    return refused("is signed with " + std::string(algorithm_name(algorithm)) + ", which is not what the key it names" +
                   shown(id) + " is for");
  if (!any_of_algorithm)
    return refused("is signed with " + std::string(algorithm_name(algorithm)) + "; the keys of this server are for " +
                   algorithms());
  if (candidates.empty()) return refused("names a key that is not known here" + shown(id));
  if (candidates.size() > kMostTries)
    return refused("does not say which key signed it, and there are more than " + std::to_string(kMostTries) +
                   " of its algorithm; its header must have a kid");
  for (const TokenKey* key : candidates)
    if (key->verifies(message, signature)) return {};
  return refused("does not verify; it was made with another key, or changed");
}

}  // namespace rejoin::server
