#include "sqlite/acquaintance.h"

#include "sqlite/extract.h"
#include "sqlite/impl.h"

namespace rejoin::sqlite {

std::string peer_name(const crdt::SiteId& source) { return "replica:" + to_hex(source.view()); }

Result<Acquaintance> acquaintance(Replica& source, Replica& reader) {
  REJOIN_ASSIGN(const crdt::SiteId site, source.site());
  REJOIN_ASSIGN(const sync::DeviceState state, make_device_store(reader, peer_name(site))->state());
  if (state.pull_cursor.empty()) {
    REJOIN_ASSIGN(Work work, Work::read(reader.impl().ctx));
    const bool heard_of = reader.impl().ctx.sites.find(site) >= 0;
    REJOIN_TRY(work.commit());
    return heard_of ? Acquaintance::unclear : Acquaintance::none;
  }
  REJOIN_ASSIGN(Work work, begin_export(source.impl().ctx));
  REJOIN_ASSIGN(const sync::PageStart place, place_of(work, state.pull_cursor));
  REJOIN_TRY(work.commit());
  if (place.restarted) return Acquaintance::went_back;
  return place.from_start ? Acquaintance::unclear : Acquaintance::good;
}

}  // namespace rejoin::sqlite
