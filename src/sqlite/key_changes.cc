#include "sqlite/key_changes.h"

#include "sqlite/key_reader.h"
#include "sqlite/layout.h"

namespace rejoin::sqlite {

Result<bool> KeyChanges::moved(const Table& table, int64_t seq, const Bytes& from, const Bytes& to) {
  REJOIN_ASSIGN(const std::vector<Change>* changes, read(table));
  Bytes at = from;
  bool any = false;
  for (const Change& change : *changes) {
    if (change.seq <= seq || change.from != at) continue;
    at = change.to;
    any = true;
  }
  return any && at == to;
}

Result<const std::vector<KeyChanges::Change>*> KeyChanges::read(const Table& table) {
  auto [known, fresh] = by_table_.try_emplace(table.id);
  if (!fresh) return &known->second;
  std::vector<Change>& out = known->second;
  std::string keys;
  for (const char* row : {"d", "i"})
    for (size_t i = 0; i < table.key.size(); ++i) keys += std::string(", ") + row + ".k" + std::to_string(i);
  REJOIN_ASSIGN(Statement * s,
                ctx_.statement("SELECT d.seq" + keys +
                               " FROM main.rejoin_log AS d JOIN main.rejoin_log AS i ON i.seq=d.seq+1 AND i.tbl=d.tbl "
                               "AND i.op=" +
                               std::to_string(kInsert) +
                               " WHERE d.seq>?1 AND d.tbl=?2 AND d.op=" + std::to_string(kDelete) + " ORDER BY d.seq"));
  Use use(*s);
  s->bind(1, after_);
  s->bind(2, static_cast<int64_t>(table.id));
  for (;;) {
    REJOIN_ASSIGN(bool row, s->step("looking for changed keys"));
    if (!row) return &out;
    Change& change = out.emplace_back();
    change.seq = s->integer(0);
    const int columns = static_cast<int>(table.key.size());
    encode_row_key(*s, 1, table.key.size(), change.from);
    encode_row_key(*s, 1 + columns, table.key.size(), change.to);
  }
}

}  // namespace rejoin::sqlite
