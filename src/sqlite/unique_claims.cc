#include "sqlite/unique_claims.h"

#include "sqlite/key_reader.h"
#include "sqlite/out_of_reach.h"

namespace rejoin::sqlite {
namespace {

// Takes back what was done to look.
class Attempt {
 public:
  explicit Attempt(Context& ctx) : ctx_(ctx) {}
  Status begin() { return run("SAVEPOINT rejoin_try"); }
  Status end() {
    REJOIN_TRY(run("ROLLBACK TO rejoin_try"));
    return run("RELEASE rejoin_try");
  }

 private:
  Status run(const char* sql) {
    REJOIN_ASSIGN(Statement * s, ctx_.statement(sql));
    return s->run("trying a row");
  }
  Context& ctx_;
};

Result<std::vector<Tuple>> tuples_of(Context& ctx, const Table& table, const BaseWriter::Row& row) {
  std::vector<Tuple> out;
  for (size_t i = 0; i < table.constraints.unique.size(); ++i) {
    const UniqueRule& rule = table.constraints.unique[i];
    REJOIN_ASSIGN(Statement * s, ctx.statement(rule.tuple));
    Use use(*s);
    int at = 1;
    for (const auto& v : row.key) s->bind(at++, v);
    REJOIN_ASSIGN(bool found, s->step("reading a UNIQUE value"));
    const int parts = static_cast<int>(rule.collations.size());
    bool claims = found && s->integer(parts) != 0;
    Tuple tuple{i, {}, {}};
    for (int p = 0; claims && p < parts; ++p) {
      const crdt::ValueRef v = s->value(p);
      claims = v.type != crdt::ValueType::null;
      crdt::encode_claimed(v, rule.collations[static_cast<size_t>(p)], tuple.bytes);
      tuple.values.push_back(OwnedValue::of(v));
    }
    if (claims) out.push_back(std::move(tuple));
  }
  return out;
}

}  // namespace

Result<Trial> try_row(Context& ctx, const Table& table, const BaseWriter::Row& row) {
  Trial trial;
  // REPLACE would put the default in the NULL's place.
  for (size_t c = 0; c < table.columns.size(); ++c)
    if (table.columns[c].present && table.columns[c].not_null && row.values[c].type == crdt::ValueType::null)
      trial.refused = "NOT NULL constraint failed: " + table.name + "." + table.columns[c].name;
  if (!trial.refused.empty()) return trial;
  Attempt attempt(ctx);
  REJOIN_TRY(attempt.begin());
  BaseWriter writer(ctx, table);
  REJOIN_ASSIGN(Wrote wrote, writer.replace(row));
  if (wrote == Wrote::done) {
    REJOIN_ASSIGN(trial.tuples, tuples_of(ctx, table, row));
  } else {
    trial.refused = writer.reason();
  }
  REJOIN_TRY(attempt.end());
  return trial;
}

Result<std::optional<Bytes>> holder_of(Context& ctx, const Table& table, const Tuple& tuple) {
  REJOIN_ASSIGN(Statement * s, ctx.statement(table.constraints.unique[tuple.rule].holder));
  Use use(*s);
  int at = 1;
  for (const OwnedValue& v : tuple.values) s->bind(at++, v.ref());
  auto step = s->step("looking for who has a UNIQUE value");
  // An index's expression fails on another row, which SQLite only looked at: then nobody is known to have it.
  if (!step.ok() && (sqlite3_errcode(ctx.db) & 0xff) == SQLITE_ERROR && !lacks_something(ctx.db))
    return std::optional<Bytes>();
  REJOIN_ASSIGN(const bool found, std::move(step));
  if (!found) return std::optional<Bytes>();
  Bytes key;
  encode_row_key(*s, 0, table.key.size(), key);
  return std::optional(std::move(key));
}

}  // namespace rejoin::sqlite
