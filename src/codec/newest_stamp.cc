#include "codec/newest_stamp.h"

#include <algorithm>

namespace rejoin::codec {

crdt::Hlc newest_stamp_of(const ChangesetReader& reader, const crdt::SiteId& site) {
  const auto named = std::find(reader.sites().begin(), reader.sites().end(), site);
  if (named == reader.sites().end()) return 0;
  const auto wanted = static_cast<uint32_t>(named - reader.sites().begin());
  std::vector<uint32_t> sites;
  for (uint32_t i = 0; i < reader.sites().size(); ++i) sites.push_back(i);
  crdt::Hlc newest = 0;
  for (size_t b = 0; b < reader.blocks().size(); ++b) {
    std::vector<uint32_t> columns(reader.tables()[reader.blocks()[b].table].columns.size());
    for (uint32_t i = 0; i < columns.size(); ++i) columns[i] = i;
    BlockCursor cursor = reader.rows(b, sites, columns);
    while (cursor.next()) newest = std::max(newest, crdt::newest_stamp(crdt::part_of_site(cursor.record(), wanted)));
  }
  return newest;
}

}  // namespace rejoin::codec
