#include "sqlite/key_reader.h"

namespace rejoin::sqlite {
namespace {
// How far a reader steps towards a key before it seeks: further while that leads somewhere, once otherwise.
constexpr int kMostSteps = 4;
}  // namespace

void encode_row_key(const Statement& s, int first, size_t n, Bytes& out) {
  out.clear();
  if (n == 1) {
    crdt::ValueRef v = s.value(first);
    crdt::encode_key(std::span(&v, 1), out);
    return;
  }
  std::vector<crdt::ValueRef> values(n);
  for (size_t i = 0; i < n; ++i) values[i] = s.value(first + static_cast<int>(i));
  crdt::encode_key(values, out);
}

Result<RecordReader> RecordReader::open(Context& ctx, const Table& table) {
  REJOIN_ASSIGN(Statement * s, ctx.statement("SELECT k, rec FROM " + table.records() + " WHERE k>=?1 ORDER BY k"));
  s->reset();
  return RecordReader(s);
}

void RecordReader::reset() {
  if (!s_) return;
  s_->reset();
  active_ = finished_ = false;
}

Result<bool> RecordReader::step() {
  REJOIN_ASSIGN(active_, s_->step("reading records"));
  if (!active_) finished_ = true;
  return active_;
}

Result<BytesView> RecordReader::find(BytesView key) {
  if (finished_) return BytesView();
  int order = -1;
  for (int steps = 0; active_; ++steps) {
    order = s_->blob(0).compare(key);
    if (order >= 0) {
      if (order == 0) patience_ = kMostSteps;
      break;
    }
    if (steps == patience_) {
      patience_ = 1;
      break;
    }
    REJOIN_TRY(step());
  }
  if (finished_) return BytesView();
  if (!active_ || order < 0) {
    s_->reset();
    bound_.assign(key);
    s_->bind_blob(1, bound_);
    REJOIN_TRY(step());
    if (!active_) return BytesView();
    order = s_->blob(0).compare(key);
  }
  return order == 0 ? s_->blob(1) : BytesView();
}

RowReader::RowReader(Statement* s, const Table* t) : s_(s), table_(t) {
  int at = static_cast<int>(t->key.size());
  for (const Column& c : t->columns) column_at_.push_back(c.present ? at++ : -1);
}

Result<RowReader> RowReader::open(Context& ctx, const Table& table, bool shadow) {
  std::string keys = table.key_list(), columns = table.column_list(), marks;
  for (size_t i = 0; i < table.key.size(); ++i) marks += (i ? ", ?" : "?") + std::to_string(i + 1);
  std::string sql = "SELECT " + keys + (columns.empty() ? "" : ", " + columns) + " FROM " +
                    (shadow ? table.shadow() : table.quoted()) + " WHERE (" + keys + ") >= (" + marks + ") ORDER BY " +
                    keys;
  REJOIN_ASSIGN(Statement * s, ctx.statement(sql));
  s->reset();
  return RowReader(s, &table);
}

void RowReader::reset() {
  if (!s_) return;
  s_->reset();
  active_ = false;
}

Result<bool> RowReader::step() {
  REJOIN_ASSIGN(active_, s_->step("reading rows of " + table_->name));
  if (active_) encode_row_key(*s_, 0, table_->key.size(), current_);
  return active_;
}

Result<bool> RowReader::find(BytesView key) {
  // A table whose keys are of several types is ordered differently by SQLite than by encoded keys, so a row that is not
  // met by stepping is always sought.
  for (int steps = 0; active_; ++steps) {
    int order = current_ == key ? 0 : BytesView(current_).compare(key);
    if (order == 0) {
      patience_ = kMostSteps;
      return true;
    }
    if (order > 0) break;
    if (steps == patience_) {
      patience_ = 1;
      break;
    }
    REJOIN_TRY(step());
  }
  s_->reset();
  bound_.assign(key);
  if (!crdt::decode_key(bound_, table_->key.size(), values_, scratch_))
    return fail(Code::corrupt, "a key of table \"" + table_->name + "\" in the metadata is damaged; run rejoin doctor");
  for (size_t i = 0; i < values_.size(); ++i) s_->bind(static_cast<int>(i + 1), values_[i]);
  REJOIN_TRY(step());
  return active_ && current_ == key;
}

crdt::ValueRef RowReader::value(uint32_t column) const {
  int at = column < column_at_.size() ? column_at_[column] : -1;
  return at < 0 ? crdt::ValueRef() : s_->value(at);
}

}  // namespace rejoin::sqlite
