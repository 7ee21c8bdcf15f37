#include "postgres/base_rows.h"

#include "crdt/key.h"

namespace rejoin::postgres {
namespace {

// Builds the batch `u(k0, …, c0, …, n)`, or u(place, c0, …, n), of one array of texts each, and counts the parameters.
class Statement {
 public:
  explicit Statement(Work& work, const Table& table, bool by_place = false)
      : work_(work), table_(table), by_place_(by_place) {}

  // Keys and places have their types here already: under row-level security a condition that casts is no way into an
  // index. OFFSET 0 keeps it so.
  std::string source(size_t columns) const {
    std::string arrays, names, typed;
    for (size_t i = 0; i < wheres() + columns; ++i) {
      arrays += (i ? ", $" : "$") + std::to_string(i + 1) + "::text[]";
      const std::string name = i >= wheres() ? "c" + std::to_string(i - wheres())
                               : by_place_   ? "place"
                                             : "k" + std::to_string(i);
      names += name + ", ";
      typed += (i >= wheres() ? "r." + name
                : by_place_   ? "r.place::tid AS place"
                              : key_expression(table_.key[i].type, "r." + name) + " AS " + name) +
               ", ";
    }
    return "(SELECT " + typed + "r.n FROM unnest(" + arrays + ") WITH ORDINALITY AS r(" + names + "n) OFFSET 0) AS u";
  }
  // Each row of the batch with what `wanted` says of the table's row `t` with its key. A lateral subquery, because a
  // join could be planned the other way round, as a walk over the whole table; OFFSET 0 or a lock keeps it one.
  std::string located(size_t columns, const std::string& wanted, const std::string& end) const {
    return source(columns) + " CROSS JOIN LATERAL (SELECT " + wanted + " FROM " + table_.sql + " AS t WHERE " +
           match() + of_tenant(columns) + " " + end + ")";
  }
  // For UPDATE and DELETE: the batch with the places of its rows, which were locked before.
  std::string places(size_t columns) const {
    if (by_place_) return source(columns) + " WHERE t.ctid = u.place" + of_tenant(columns, " IS NOT DISTINCT FROM ");
    return "(SELECT u.*, x.place FROM " + located(columns, "t.ctid AS place", "OFFSET 0") +
           " AS x) AS u WHERE t.ctid = u.place";
  }
  std::string match() const {
    std::string out;
    for (size_t i = 0; i < table_.key.size(); ++i)
      out += (i ? " AND t." : "t.") + table_.key[i].quoted + " = u.k" + std::to_string(i);
    return out;
  }
  // The tenant's rows only; the name is the parameter after the arrays. Where places are given it is a check that no
  // index serves: with an index on the tenant, the planner may take a walk over all of its rows for cheaper.
  std::string of_tenant(size_t columns, const char* is = " = ") const {
    if (!table_.tenant) return "";
    return " AND t." + table_.tenant->quoted + is + tenant_value(columns);
  }
  std::string tenant_value(size_t columns) const {
    return write_expression(table_.tenant->type, "($" + std::to_string(wheres() + columns + 1) + "::text)");
  }
  std::string reads(const crdt::ColumnSet& columns, const std::string& row) const {
    std::string out;
    columns.each([&](uint32_t c) {
      out += ", " + read_expression(table_.columns[c].type, row + "." + table_.columns[c].quoted);
    });
    return out;
  }
  void send(const std::string& sql, const KeyArrays& keys, const std::vector<Array>& values) const {
    Params params;
    keys.append_to(params);
    send(sql, params, values);
  }
  void send(const std::string& sql, const Target& rows, const std::vector<Array>& values) const {
    Params params;
    if (by_place_)
      params.array(rows.places);
    else
      rows.keys.append_to(params);
    send(sql, params, values);
  }

 private:
  size_t wheres() const { return by_place_ ? 1 : table_.key.size(); }
  void send(const std::string& sql, Params& params, const std::vector<Array>& values) const {
    for (const Array& a : values) params.array(a);
    if (table_.tenant) params.text(work_.tenant().name);
    work_.db().send(sql, params);
  }

  Work& work_;
  const Table& table_;
  const bool by_place_;
};

}  // namespace

crdt::ColumnSet present_columns(const Table& table) {
  crdt::ColumnSet out;
  for (uint32_t c = 0; c < table.columns.size(); ++c)
    if (table.columns[c].present) out.add(c);
  return out;
}

Status KeyArrays::decode(BytesView key) {
  if (crdt::decode_key(key, table_->key.size(), values_, scratch_)) return {};
  return fail(Code::corrupt, "a key of table \"" + table_->name + "\" is damaged");
}

Status KeyArrays::check_foreign(BytesView key) {
  if (key.size() > kMostKeyBytes)
    return fail(Code::bad_argument, "its key has " + std::to_string(key.size()) + " bytes; PostgreSQL's indexes take " +
                                        std::to_string(kMostKeyBytes));
  REJOIN_TRY(decode(key));
  for (size_t i = 0; i < values_.size(); ++i) REJOIN_TRY(key_text_of(table_->key[i].type, values_[i]));
  return {};
}

Status KeyArrays::add(BytesView key) {
  REJOIN_TRY(decode(key));
  bool held = true;
  for (size_t i = 0; i < values_.size(); ++i) held &= holds_key(table_->key[i].type, values_[i]);
  if (!held) {
    for (Array& a : arrays_) a.add_null();
    return {};
  }
  std::vector<std::string> texts;
  for (size_t i = 0; i < values_.size(); ++i) {
    REJOIN_ASSIGN(std::string text, text_of(table_->key[i].type, values_[i]));
    texts.push_back(std::move(text));
  }
  for (size_t i = 0; i < texts.size(); ++i) arrays_[i].add(BytesView(texts[i]));
  return {};
}

Bytes encode_text_key(const Table& table, std::span<const TextElement> texts) {
  std::vector<crdt::OwnedValue> values;
  std::vector<crdt::ValueRef> refs;
  for (size_t i = 0; i < table.key.size(); ++i) values.push_back(value_of(table.key[i].type, texts[i].text));
  for (const auto& v : values) refs.push_back(v.ref());
  Bytes out;
  crdt::encode_key(refs, out);
  return out;
}

void send_lock(Work& work, const Table& table, const KeyArrays& keys, const crdt::ColumnSet& reads) {
  Statement s(work, table);
  s.send("SELECT u.n" + s.reads(reads, "t") + ", t.rejoin_place::text FROM " +
             s.located(0, "t.*, t.ctid AS rejoin_place", "FOR NO KEY UPDATE OF t") + " AS t",
         keys, {});
}

void send_select(Work& work, const Table& table, const KeyArrays& keys, const crdt::ColumnSet& reads) {
  Statement s(work, table);
  s.send("SELECT u.n" + s.reads(reads, "t") + " FROM " + s.located(0, "t.*", "OFFSET 0") + " AS t", keys, {});
}

void send_update(Work& work, const Table& table, const Target& rows, const crdt::ColumnSet& columns,
                 const std::vector<Array>& values, const crdt::ColumnSet& check, Tell tell) {
  Statement s(work, table, rows.by_place());
  std::string set;
  size_t n = 0;
  columns.each([&](uint32_t c) {
    set += (n ? ", " : "") + table.columns[c].quoted + " = " +
           write_expression(table.columns[c].type, "u.c" + std::to_string(n));
    ++n;
  });
  s.send("UPDATE " + table.sql + " AS t SET " + set + " FROM " + s.places(n) +
             (tell == Tell::rows ? " RETURNING u.n" + s.reads(check, "t") : ""),
         rows, values);
}

void send_insert(Work& work, const Table& table, const KeyArrays& keys, const crdt::ColumnSet& columns,
                 const std::vector<Array>& values, const crdt::ColumnSet& check, Tell tell, Taken taken) {
  Statement s(work, table);
  std::string names, sources, conflict, returned;
  size_t n = 0;
  for (size_t i = 0; i < table.key.size(); ++i) {
    const Column& c = table.key[i];
    names += (i ? ", " : "") + c.quoted;
    sources += (i ? ", u.k" : "u.k") + std::to_string(i);
    conflict += (i ? ", " : "") + c.quoted;
    returned += (i ? ", " : "") + read_expression(c.type, "t." + c.quoted);
  }
  columns.each([&](uint32_t c) {
    names += ", " + table.columns[c].quoted;
    sources += ", " + write_expression(table.columns[c].type, "u.c" + std::to_string(n++));
  });
  if (table.tenant) {
    names += ", " + table.tenant->quoted;
    sources += ", " + s.tenant_value(n);
    if (table.tenant_in_key) conflict += ", " + table.tenant->quoted;
  }
  s.send("INSERT INTO " + table.sql + " AS t (" + names + ") OVERRIDING SYSTEM VALUE SELECT " + sources + " FROM " +
             s.source(n) + " ORDER BY u.n" +
             (taken == Taken::passed_over ? " ON CONFLICT (" + conflict + ") DO NOTHING" : "") +
             (tell == Tell::rows ? " RETURNING " + returned + s.reads(check, "t") : ""),
         keys, values);
}

void send_delete(Work& work, const Table& table, const Target& rows) {
  Statement s(work, table, rows.by_place());
  s.send("DELETE FROM " + table.sql + " AS t USING " + s.places(0) + " RETURNING u.n" +
             s.reads(present_columns(table), "t"),
         rows, {});
}

crdt::OwnedValue read_value(const Rows& rows, size_t row, int at, const Type& type) {
  if (rows.is_null(row, at)) return {};
  return value_of(type, rows.bytes(row, at));
}

}  // namespace rejoin::postgres
