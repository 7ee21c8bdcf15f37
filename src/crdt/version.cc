#include "crdt/version.h"

namespace rejoin::crdt {

uint32_t SiteTable::intern(const SiteId& id) {
  auto [at, fresh] = index_.try_emplace(id, static_cast<uint32_t>(ids_.size()));
  if (fresh) ids_.push_back(id);
  return at->second;
}

int64_t SiteTable::find(const SiteId& id) const {
  auto at = index_.find(id);
  return at == index_.end() ? -1 : static_cast<int64_t>(at->second);
}

}  // namespace rejoin::crdt
