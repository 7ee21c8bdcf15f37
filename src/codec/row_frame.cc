#include "codec/row_frame.h"

namespace rejoin::codec {

Bytes encode_row_frame(const crdt::SiteId& source, const crdt::SiteTable& sites, const OneRow* row) {
  FrameInfo info;
  info.source = source;
  ChangesetWriter writer(info, sites);
  if (row) {
    crdt::ColumnSet columns;
    std::vector<crdt::ValueRef> values;
    for (const auto& [c, value] : row->values) {
      if (row->record.stamp_of(c).bottom()) continue;
      columns.add(c);
      values.push_back(value.ref());
    }
    const bool life = !row->record.live.bottom();
    if (life || !columns.empty()) {
      writer.begin_table(row->table);
      writer.add(row->key, row->record, columns, life, values);
    }
  }
  return writer.finish();
}

Result<std::optional<OneRow>> read_row_frame(const ChangesetReader& reader, std::span<const uint32_t> site_map) {
  const Error damaged = fail(Code::corrupt, "what the server said of a row it refused is damaged; sync again");
  if (reader.blocks().empty()) return std::optional<OneRow>();
  const BlockInfo& block = reader.blocks()[0];
  if (reader.blocks().size() > 1 || block.rows != 1) return damaged;
  OneRow row;
  row.table = reader.tables()[block.table];
  std::vector<uint32_t> columns(row.table.columns.size());
  for (uint32_t i = 0; i < columns.size(); ++i) columns[i] = i;
  BlockCursor cursor = reader.rows(0, site_map, columns);
  if (!cursor.next()) return damaged;
  row.key = cursor.key();
  row.record = cursor.record();
  for (size_t i = 0; i < block.columns.size(); ++i)
    row.values[block.columns[i]] = crdt::OwnedValue::of(cursor.values()[i]);
  if (cursor.next() || !cursor.ok()) return damaged;
  return std::optional(std::move(row));
}

}  // namespace rejoin::codec
