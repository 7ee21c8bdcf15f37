#include "sqlite/pass_on.h"

#include <map>

#include "codec/row_frame.h"
#include "crdt/record.h"
#include "sqlite/layout.h"
#include "sqlite/row_state.h"

namespace rejoin::sqlite {
namespace {

// Rows of one table, with the columns that any of them has.
class ParkedTable {
 public:
  explicit ParkedTable(codec::WireTable wire) : wire_(std::move(wire)) { wire_.columns.clear(); }

  void add(codec::OneRow row, const crdt::SiteTable& sites) {
    std::vector<uint32_t> ids;
    for (const std::string& name : row.table.columns) {
      auto [at, fresh] = ids_.try_emplace(name, static_cast<uint32_t>(wire_.columns.size()));
      if (fresh) wire_.columns.push_back(name);
      ids.push_back(at->second);
    }
    crdt::RowRecord record = row.record;
    for (crdt::CellGroup& g : record.groups) {
      crdt::ColumnSet columns;
      g.columns.each([&](uint32_t c) { columns.add(ids[c]); });
      g.columns = std::move(columns);
    }
    crdt::canonicalise(record, sites);
    codec::OneRow& into = rows_[row.key];
    crdt::JoinOutcome join;
    crdt::join(into.record, record, sites, join);
    for (auto& [c, value] : row.values)
      if (join.won.has(ids[c])) into.values[ids[c]] = std::move(value);
    join.dropped.each([&](uint32_t c) { into.values.erase(c); });
  }

  void write(codec::ChangesetWriter& writer) const {
    writer.begin_table(wire_);
    std::vector<crdt::ValueRef> values;
    for (const auto& [key, row] : rows_) {
      crdt::ColumnSet columns;
      values.clear();
      for (const auto& [c, value] : row.values) {
        if (row.record.stamp_of(c).bottom()) continue;
        columns.add(c);
        values.push_back(value.ref());
      }
      const bool life = !row.record.live.bottom();
      if (life || !columns.empty()) writer.add(key, row.record, columns, life, values);
    }
  }

 private:
  codec::WireTable wire_;
  std::map<std::string, uint32_t> ids_;
  std::map<Bytes, codec::OneRow> rows_;  // in the order of the keys' bytes
};

class ParkedTables {
 public:
  explicit ParkedTables(Context& ctx) : ctx_(ctx) {}

  // One that is damaged on disk stays here and stops nothing else.
  Status add(BytesView frame) {
    auto reader = codec::ChangesetReader::open(frame);
    if (!reader.ok()) return {};
    REJOIN_ASSIGN(const std::vector<uint32_t> sites, site_map(ctx_, *reader));
    auto row = codec::read_row_frame(*reader, sites);
    if (!row.ok() || !*row) return {};
    std::vector<std::string> name = (*row)->table.key;
    name.push_back((*row)->table.name);
    auto at = tables_.find(name);
    if (at == tables_.end()) at = tables_.emplace(std::move(name), ParkedTable((*row)->table)).first;
    at->second.add(std::move(**row), ctx_.sites);
    return {};
  }
  void write(codec::ChangesetWriter& writer) const {
    for (const auto& [name, table] : tables_) table.write(writer);
  }

 private:
  Context& ctx_;
  std::map<std::vector<std::string>, ParkedTable> tables_;  // by key columns and name
};

}  // namespace

Status log_parked(Context& ctx, const std::string& table, BytesView key) {
  Bytes entry;
  put_bytes(entry, table);
  put_bytes(entry, key);
  REJOIN_ASSIGN(Statement * s, ctx.statement("INSERT INTO main.rejoin_log(tbl, op, k0) VALUES(0, ?1, ?2)"));
  Use use(*s);
  s->bind(1, static_cast<int64_t>(kParked));
  s->bind_blob(2, entry);
  return s->run("logging a row that is kept aside");
}

bool read_parked_entry(BytesView entry, ParkedRow& row) {
  ByteReader in(entry);
  row.table = in.bytes();
  row.key = in.bytes();
  return in.ok() && in.at_end();
}

Result<bool> still_parked(Context& ctx, const ParkedRow& row) {
  REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT 1 FROM main.rejoin_aside WHERE table_name=?1 AND k=?2 AND frame "
                                             "IS NOT NULL AND due IS NULL LIMIT 1"));
  Use use(*s);
  s->bind_text(1, row.table);
  s->bind_blob(2, row.key);
  return s->step("looking for a row that is kept aside");
}

Result<std::optional<Bytes>> join_parked(Context& ctx, BytesView one, BytesView other) {
  auto reader = codec::ChangesetReader::open(one);
  if (!reader.ok()) return std::optional<Bytes>();
  ParkedTables tables(ctx);
  REJOIN_TRY(tables.add(one));
  REJOIN_TRY(tables.add(other));
  codec::FrameInfo info;
  info.source = reader->info().source;
  codec::ChangesetWriter writer(info, ctx.sites);
  tables.write(writer);
  if (writer.rows() != 1) return std::optional<Bytes>();
  return std::optional(writer.finish());
}

Status write_parked(Context& ctx, const std::vector<ParkedRow>& rows, codec::ChangesetWriter& writer) {
  ParkedTables tables(ctx);
  for (const ParkedRow& row : rows) {
    REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT frame FROM main.rejoin_aside WHERE table_name=?1 AND k=?2 AND "
                                               "frame IS NOT NULL AND due IS NULL ORDER BY id"));
    Use use(*s);
    s->bind_text(1, row.table);
    s->bind_blob(2, row.key);
    for (;;) {
      REJOIN_ASSIGN(bool more, s->step("reading a row that is kept aside"));
      if (!more) break;
      REJOIN_TRY(tables.add(s->blob(0)));
    }
  }
  tables.write(writer);
  return {};
}

Result<bool> scan_parked(Context& ctx, uint64_t max_bytes, Bytes& after, codec::ChangesetWriter& writer) {
  ParkedTables tables(ctx);
  uint64_t bytes = writer.bytes();
  bool any = writer.rows() > 0, more = false;
  {
    REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT id, frame FROM main.rejoin_aside WHERE id>?1 AND frame IS NOT "
                                               "NULL AND due IS NULL ORDER BY id"));
    Use use(*s);
    s->bind(1, after.size() == 8 ? static_cast<int64_t>(load_be64(after.data())) : 0);
    for (;;) {
      REJOIN_ASSIGN(bool row, s->step("reading rows that are kept aside"));
      if (!row) break;
      if (any && bytes >= max_bytes) {
        more = true;
        break;
      }
      REJOIN_TRY(tables.add(s->blob(1)));
      bytes += s->blob(1).size();
      any = true;
      after.clear();
      put_be64(after, static_cast<uint64_t>(s->integer(0)));
    }
  }
  tables.write(writer);
  return more;
}

}  // namespace rejoin::sqlite
