#include "sqlite/acquaintance.h"

#include "codec/cursor.h"
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

Status read_all_again(Replica& reader, const crdt::SiteId& source) {
  REJOIN_ASSIGN(const sync::DeviceState state, make_device_store(reader, peer_name(source))->state());
  const auto place = codec::decode_cursor(state.pull_cursor);
  if (state.pull_cursor.empty() || (place && place->scanning && place->own)) return {};
  Context& ctx = reader.impl().ctx;
  REJOIN_ASSIGN(Work work, Work::write(ctx));
  {
    REJOIN_ASSIGN(Statement * s, ctx.statement("UPDATE main.rejoin_peer SET pull_all=1 WHERE url=?1"));
    Use use(*s);
    const std::string name = peer_name(source);
    s->bind_text(1, name);
    REJOIN_TRY(s->run("starting to read a file again"));
  }
  return work.commit();
}

}  // namespace rejoin::sqlite
