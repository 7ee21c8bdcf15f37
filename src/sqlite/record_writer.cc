#include "sqlite/record_writer.h"

namespace rejoin::sqlite {

void RecordWriter::add(BytesView key, const crdt::RowRecord& record) {
  RecordRows::Row row;
  row.key_at = static_cast<uint32_t>(rows_.arena.size());
  row.key_size = static_cast<uint32_t>(key.size());
  rows_.arena += key;
  row.record_at = static_cast<uint32_t>(rows_.arena.size());
  crdt::encode_record(record, rows_.arena);
  row.record_size = static_cast<uint32_t>(rows_.arena.size() - row.record_at);
  rows_.rows.push_back(row);
}

Status RecordWriter::flush() {
  if (rows_.rows.empty()) return {};
  REJOIN_ASSIGN(Statement * s, ctx_.statement("INSERT OR REPLACE INTO " + table_.records() +
                                              "(k, rec) SELECT k, rec FROM rejoin_rows(?1)"));
  Use use(*s);
  sqlite3_bind_pointer(s->get(), 1, &rows_, kRowsPointerType, nullptr);
  Status status = s->run("writing records of " + table_.name);
  sqlite3_bind_null(s->get(), 1);
  rows_.clear();
  return status;
}

}  // namespace rejoin::sqlite
