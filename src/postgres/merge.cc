#include "postgres/merge.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <unordered_map>

#include "base/uuid.h"
#include "crdt/key.h"
#include "postgres/fold.h"
#include "postgres/merge_incoming.h"
#include "postgres/merge_plan.h"
#include "sync/chain.h"

namespace rejoin::postgres {
namespace {

std::string waits(const Catalog& catalog) {
  return "SELECT EXISTS (SELECT FROM rejoin.outbox WHERE tenant = current_setting('rejoin.tenant')" +
         catalog.but_unserved() + ")";
}
constexpr size_t kChunkRows = 10'000;
constexpr size_t kChunkBytes = 16 << 20;
constexpr int kCautious = 16;
constexpr int kMostRounds = 5;  // of meeting rows that others insert at the same moment

// Does PostgreSQL keep every key that check_foreign() lets pass as it is? Not where a type has a length or precision.
bool keeps_keys(const Table& table) {
  return std::all_of(table.key.begin(), table.key.end(), [](const Column& c) {
    switch (c.type.kind) {
      case TypeClass::integer:
      case TypeClass::uuid:
      case TypeClass::date:
      case TypeClass::bytea:
        return true;
      default:
        return c.type.sql == "text" || c.type.sql == "character varying" ||
               c.type.sql == "timestamp without time zone" || c.type.sql == "timestamp with time zone";
    }
  });
}

// Is a failed statement the fault of a row, and not of the connection, the server or ourselves? `fresh`: the catalog
// was read for this request; then an unknown name or a type that does not fit is a trigger's of the application.
bool fault_of_a_row(std::string_view state, bool fresh) {
  auto is = [&](std::string_view prefix) { return state.starts_with(prefix); };
  if (is("42") || is("0A")) return fresh || state == "42501" || state == "428C9";
  return is("22") || is("23") || is("P0") || is("44") || is("21") || is("27") || is("2F") || is("38") || is("39") ||
         is("54") || state == "55000";
}

// What a table held, where its triggers may change more than was sent.
crdt::ColumnSet columns_before(const Table& table) {
  return table.before_triggers ? present_columns(table) : crdt::ColumnSet();
}

}  // namespace

Merge::Merge(Work& work, const MergeOptions& options) : work_(work), options_(options) {}
Merge::~Merge() = default;

Status Merge::frame(const codec::ChangesetReader& reader) {
  site_map_.clear();
  for (const crdt::SiteId& id : reader.sites()) site_map_.push_back(work_.intern(id));
  origin_ = work_.intern(options_.origin);
  uint64_t rows = 0;
  for (const auto& b : reader.blocks()) rows += b.rows;
  limit_ = std::max(crdt::hlc_of_ms(options_.now_ms + options_.drift_ms), work_.state.last + rows);
  for (size_t i = 0; i < reader.blocks().size(); ++i) REJOIN_TRY(block(reader, i));
  std::vector<Incoming*> all;
  for (auto& row : rows_) all.push_back(row.get());
  REJOIN_TRY(merge_in_turn(std::move(all)));
  rows_.clear();
  return {};
}

// By key within a table: locks are always taken in one order.
Status Merge::merge_in_turn(std::vector<Incoming*> all) {
  std::stable_sort(all.begin(), all.end(), [](const Incoming* a, const Incoming* b) {
    return a->table != b->table ? a->table->id < b->table->id : a->key < b->key;
  });
  while (!all.empty()) {
    // A row that comes twice is merged twice, one after the other.
    std::vector<Incoming*> twice;
    auto end_of_once =
        std::stable_partition(all.begin(), all.end(), [last = static_cast<Incoming*>(nullptr)](Incoming* row) mutable {
          const bool again = last && last->table == row->table && last->key == row->key;
          last = row;
          return !again;
        });
    twice.assign(end_of_once, all.end());
    all.erase(end_of_once, all.end());
    for (size_t first = 0; first < all.size();) {
      size_t end = first, bytes = 0;
      for (; end < all.size() && end - first < kChunkRows && bytes < kChunkBytes; ++end)
        for (const auto& [c, v] : all[end]->values) bytes += v.bytes.size() + 16;
      const auto chunk = std::span(all).subspan(first, end - first);
      REJOIN_TRY(merge_rows(chunk, most_hope(chunk)));
      first = end;
    }
    all = std::move(twice);
  }
  return {};
}

// What is there instead of a synced table of this name and key, and the cure.
std::string Merge::why_unknown(const codec::WireTable& wire) const {
  const Catalog& catalog = work_.catalog();
  for (const Table& t : catalog.unserved)
    if (same_name(t.name, wire.name) || (t.own_name && same_name(t.relation, wire.name))) return why_unserved(t);
  std::string out = "the server has no synced table \"" + wire.name + "\" with this key for this tenant; ";
  if (const Table* table = catalog.meant(wire.name)) {
    std::string key;
    for (const Column& c : table->key) key += (key.empty() ? "" : ", ") + c.name;
    return out + "its " + table->display + " has the key (" + key + "): give both the same";
  }
  // The table that has the name in PostgreSQL is another one, which devices know by another.
  for (const Table& t : catalog.tables)
    for (const std::string& gone : catalog.dropped)
      if (same_name(t.relation, wire.name) && same_name(gone, wire.name))
        return out + "one that was dropped has the name, so it does not stand for " + t.display + ", synced as \"" +
               t.name + "\"; if devices mean that, run rejoin pg untrack " + in_shell(gone);
  for (const Table& t : catalog.tables)
    if (!t.own_name && same_name(t.relation, wire.name))
      return out + "its " + t.display + " is synced as \"" + t.name +
             "\"; if it was renamed since, run rejoin pg track " + command_name(t) + " --as " + in_shell(t.relation);
  return out + "create it in its PostgreSQL and run rejoin pg track";
}

// The catalog that is kept between requests does not notice that a table was renamed.
Status Merge::look_for_renamed(const std::string& name) {
  Tenant& tenant = work_.tenant();
  const Catalog& catalog = work_.catalog();
  if (tenant.catalog_fresh || tenant.catalog_renewed || catalog.meant(name)) return {};
  // One that is called so and not meant is no news.
  for (const auto* list : {&catalog.tables, &catalog.unserved})
    for (const Table& t : *list)
      if (same_name(t.relation, name) || same_name(t.name, name)) return {};
  REJOIN_ASSIGN(const Rows there,
                work_.db().query("SELECT EXISTS (SELECT FROM rejoin.tracked k JOIN pg_class c ON c.oid = k.relation "
                                 "WHERE lower(c.relname) = lower($1) AND (k.tenant_column IS NOT NULL OR k.tenant = "
                                 "current_setting('rejoin.tenant')))",
                                 Params().text(name)));
  if (there.integer(0, 0) == 0) return {};
  tenant.catalog_stale = true;
  return fail(Code::busy, "a table was renamed to \"" + name + "\"; try again");
}

Status Merge::refuse_unknown(const codec::ChangesetReader& reader, size_t index) {
  const codec::BlockInfo& info = reader.blocks()[index];
  const codec::WireTable& wire = reader.tables()[info.table];
  REJOIN_TRY(look_for_renamed(wire.name));
  std::vector<uint32_t> identity(wire.columns.size());
  for (uint32_t i = 0; i < identity.size(); ++i) identity[i] = i;
  codec::BlockCursor raw = reader.rows(index, site_map_, identity);
  const std::string why = why_unknown(wire);
  while (raw.next()) {
    ++outcome_.rows_seen;
    sync::RefusedRow row;
    row.table = wire.name;
    row.key = raw.key();
    row.key_json = crdt::key_json(raw.key(), wire.key.size());
    row.code = Code::schema_refused;
    row.reason = why;
    outcome_.refused.push_back(std::move(row));
  }
  return raw.ok() ? Status() : fail(Code::corrupt, "the changeset's rows of table \"" + wire.name + "\" are damaged");
}

Status Merge::block(const codec::ChangesetReader& reader, size_t index) {
  const codec::BlockInfo& info = reader.blocks()[index];
  const codec::WireTable& wire = reader.tables()[info.table];
  const Table* table = work_.catalog().meant(wire.name);
  auto same = [](std::string_view a, std::string_view b) {
    auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](char x, char y) { return lower(x) == lower(y); });
  };
  bool same_key = table && wire.key.size() == table->key.size();
  for (size_t i = 0; same_key && i < wire.key.size(); ++i) same_key = same(wire.key[i], table->key[i].name);
  if (!same_key) return refuse_unknown(reader, index);
  std::vector<uint32_t> column_map;
  for (const std::string& name : wire.columns) {
    uint32_t id = codec::kNoColumn;
    for (uint32_t c = 0; c < table->columns.size(); ++c)
      if (table->columns[c].present && same(table->columns[c].name, name)) id = c;
    column_map.push_back(id);
  }
  std::vector<std::string> lacking;
  for (uint32_t position : info.columns)
    if (column_map[position] == codec::kNoColumn) lacking.push_back(wire.columns[position]);

  const size_t present = present_columns(*table).count();
  codec::BlockCursor cursor = reader.rows(index, site_map_, column_map);
  const bool may_push = options_.persona.may_push(*table);
  const int64_t only = options_.only_site ? work_.sites().find(*options_.only_site) : -1;
  const std::array<uint32_t, 2> allowed{Work::kOwnSite, static_cast<uint32_t>(only)};
  while (cursor.next()) {
    ++outcome_.rows_seen;
    auto row = std::make_unique<Incoming>();
    row->table = table;
    if (wire.name != table->name) row->called = wire.name;
    row->key = cursor.key();
    row->newest = cursor.newest();
    row->theirs = cursor.record();
    if (row->newest > limit_) {
      crdt::RowRecord others = crdt::part_of_others(row->theirs, std::span(allowed).first(1));
      if (others == row->theirs || crdt::newest_stamp(others) > limit_)
        return fail(Code::clock_ahead, "a change to \"" + table->name + "\" " +
                                           crdt::key_json(row->key, table->key.size()) + " is stamped " +
                                           iso8601(crdt::ms_of_hlc(row->newest)) +
                                           ", further ahead of this clock than allowed; set the sender's clock");
      refuse(*row, Code::clock_ahead, sync::kOwnStampAhead);
      if (others == crdt::RowRecord()) continue;
      row->theirs = std::move(others);
      row->newest = crdt::newest_stamp(row->theirs);
    }
    // A device speaks for itself, and for this tenant, which may have lost what it wrote (docs/adr/0012).
    if (options_.only_site && !crdt::only_of_sites(row->theirs, allowed)) {
      row->whole = row->theirs;
      row->theirs = crdt::part_of_sites(row->theirs, allowed);
    }
    row->unknown = !lacking.empty();
    if (!may_push) {
      refuse(*row, Code::forbidden,
             "this device may not write to \"" + table->name + "\"; ask for a token that may (tables)");
      continue;
    }
    size_t largest = 0;
    auto values = cursor.values();
    for (size_t i = 0; i < values.size(); ++i) {
      largest = std::max(largest, values[i].bytes.size());
      const uint32_t id = column_map[info.columns[i]];
      if (id != codec::kNoColumn) row->values[id] = crdt::OwnedValue::of(values[i]);
    }
    if (largest > options_.limits.value_bytes) {
      refuse(*row, Code::too_large,
             "a value of " + std::to_string(largest) + " bytes is above the limit of " +
                 std::to_string(options_.limits.value_bytes) + "; shorten it, or raise the limit");
      continue;
    }
    if (!lacking.empty())
      refuse(*row, Code::schema_refused,
             "the server's table " + table->display + " has no column \"" + lacking[0] +
                 "\"; add it there and run rejoin pg track again. The other columns were taken");
    // An older one may be known, or was forgotten.
    row->born = row->theirs.alive && row->theirs.birth.hlc > work_.state.horizon && row->values.size() == present;
    rows_.push_back(std::move(row));
  }
  return cursor.ok() ? Status()
                     : fail(Code::corrupt, "the changeset's rows of table \"" + wire.name +
                                               "\" are damaged; nothing was merged. Ask its source for it again");
}

void Merge::refuse(const Incoming& row, Code code, const std::string& reason) {
  sync::RefusedRow out;
  out.table = row.called.empty() ? row.table->name : row.called;
  out.key = row.key;
  out.key_json = crdt::key_json(row.key, row.table->key.size());
  out.code = code;
  out.reason = reason;
  outcome_.refused.push_back(std::move(out));
}

// What triggers make of a row may depend on how it was, and callers have policies in the way. Where others write much,
// hopes are given up for a while: a vain one costs the work twice.
Merge::Hope Merge::most_hope(Rows_ rows) const {
  if (work_.tenant().met_otherwise > 0) {
    --work_.tenant().met_otherwise;
    return Hope::new_rows;
  }
  const bool plain = std::none_of(rows.begin(), rows.end(), [](const Incoming* row) { return row->table->triggers; });
  return plain && !aside_ && !options_.persona.on() ? Hope::all : Hope::new_rows;
}

Merge::Held Merge::held() const { return {work_.state, work_.outbox_waits, outcome_.refused.size()}; }

// What try_rows() did that was not taken. Gives why.
SqlError Merge::undo(const Held& before) {
  SqlError error = fault_ ? *std::exchange(fault_, std::nullopt) : work_.db().last_error();
  work_.state = before.state;
  work_.outbox_waits = before.outbox_waits;
  outcome_.refused.resize(before.refused);
  work_.db().drop_queue();
  work_.db().send("ROLLBACK TO SAVEPOINT rejoin_rows");
  work_.db().send("RELEASE SAVEPOINT rejoin_rows");
  return error;
}

// Merges the rows, or, when PostgreSQL refuses one of them, halves until it stands alone. Rows that were not as was
// hoped are merged again, with more care.
Status Merge::merge_rows(Rows_ rows, Hope hope, int round) {
  if (rows.empty()) return {};
  std::vector<Incoming*> again;
  const Held before = held();
  REJOIN_ASSIGN(const Tried tried, try_rows(rows, hope, again));
  if (tried == Tried::taken) {
    if (again.empty()) return {};
    if (round < kMostRounds) return merge_rows(again, Hope::none, round + 1);
    for (Incoming* row : again) refuse_not_taken(*row);
    return {};
  }
  const SqlError error = undo(before);
  if (tried == Tried::otherwise) work_.tenant().met_otherwise = kCautious;
  // What PostgreSQL does not take on a wrong presumption is not refused for that.
  if (tried == Tried::otherwise || (hope == Hope::all && rows.size() == 1)) return merge_rows(rows, Hope::new_rows);
  if (rows.size() > 1) {
    REJOIN_TRY(merge_rows(rows.first(rows.size() / 2), most_hope(rows)));
    return merge_rows(rows.subspan(rows.size() / 2), most_hope(rows));
  }
  // A parent or a free place may come with a later row.
  // What fails while values give way to each other may be the fault of those that stand in for them.
  if (!last_try_ && (aside_ || error.state == "23503" || error.state == "23505")) {
    waiting_.push_back(std::make_unique<Incoming>(*rows[0]));
    waiting_.back()->error = error;
    return {};
  }
  refuse_by(*rows[0], error);
  return {};
}

// Refused: PostgreSQL did not take one of the rows. Otherwise: something is not as was hoped. The savepoint holds what
// was before.
Result<Merge::Tried> Merge::try_rows(Rows_ rows, Hope hope, std::vector<Incoming*>& again) {
  work_.db().forget_error();
  work_.db().send("SAVEPOINT rejoin_rows");
  std::vector<Plan> plans;
  otherwise_ = false;
  Status status = read(rows, hope, plans, again);
  if (status.ok() && !plans.empty() && !otherwise_) status = write(plans, hope, again);
  if (status.ok() && !otherwise_) {
    // The records go out with the next round trip; only now is it certain that they stay.
    keep(plans);
    work_.db().send("RELEASE SAVEPOINT rejoin_rows");
    return Tried::taken;
  }
  if (status.ok()) return Tried::otherwise;
  if (fault_) return Tried::refused;
  if (status.error().code == Code::network || status.error().code == Code::corrupt ||
      !fault_of_a_row(work_.db().last_error().state, work_.tenant().catalog_fresh))
    return status.error();
  // A row that was told to be new may be here already, or known. Or it wants what another has, which shows next time.
  return hope == Hope::all && work_.db().last_error().state == "23505" ? Tried::otherwise : Tried::refused;
}

// Locks the rows, then reads what is known of them, so that nobody writes them in between; folds what was captured
// until then. Rows that are told to be new are not looked for while there is hope; their insertion shows whether they
// are.
Status Merge::read(Rows_ rows, Hope hope, std::vector<Plan>& plans, std::vector<Incoming*>& again) {
  struct Group {
    const Table* table;
    KeyArrays arrays;                // of the rows to be locked
    std::vector<size_t> locked;      // their indexes
    std::vector<BytesView> asked;    // keys of the rows whose records are read
    std::vector<size_t> asked_rows;  // their indexes
    std::vector<Incoming*> rows;
    size_t locked_at = 0, records_at = 0, shape_at = 0;
  };
  const bool locks = hope != Hope::all;
  std::vector<Group> groups;
  for (Incoming* row : rows) {
    auto it = std::find_if(groups.begin(), groups.end(), [&](const Group& g) { return g.table == row->table; });
    if (it == groups.end()) it = groups.insert(it, Group{row->table, KeyArrays(*row->table), {}, {}, {}, {}, 0, 0, 0});
    Status fits = it->arrays.check_foreign(row->key);
    if (fits.ok() && row->table->tenant && !names_tenant(row->table->tenant->type, work_.tenant().name))
      fits = fail(Code::bad_argument, "the tenant's name cannot stand in column \"" + row->table->tenant->name +
                                          "\" of " + row->table->display + ", which says whose a row is");
    if (!fits.ok()) {
      if (fits.error().code == Code::corrupt) return fits;
      refuse(*row, Code::schema_refused, fits.error().message);
      continue;
    }
    if (locks && (hope == Hope::none || !row->born)) {
      REJOIN_TRY(it->arrays.add(row->key));
      it->locked.push_back(it->rows.size());
    }
    if (locks || !row->born) {
      it->asked.push_back(row->key);
      it->asked_rows.push_back(it->rows.size());
    }
    it->rows.push_back(row);
  }
  std::erase_if(groups, [](const Group& g) { return g.rows.empty(); });
  Connection& db = work_.db();
  // Those that were queued before, whose results are skipped.
  size_t at = db.queued();
  size_t waits_at = 0;
  if (locks) {
    for (Group& g : groups) send_lock(work_, *g.table, g.arrays, columns_before(*g.table)), g.locked_at = at++;
    db.send(waits(work_.catalog()));
    waits_at = at++;
    for (Group& g : groups) send_shape(work_, *g.table), g.shape_at = at++;
  }
  const auto ask = [&](size_t first) {
    for (Group& g : groups)
      if (!g.asked.empty()) send_records(work_, *g.table, g.asked), g.records_at = first++;
    return db.sync();
  };
  const bool asks = std::any_of(groups.begin(), groups.end(), [](const Group& g) { return !g.asked.empty(); });
  std::vector<Rows> all, records;
  if (locks || asks) {
    REJOIN_ASSIGN(all, ask(at));
  }
  std::vector<Rows>* answers = &all;
  bool folded = false;
  if (locks) {
    for (Group& g : groups) REJOIN_TRY(check_shape(work_, *g.table, all[g.shape_at]));
    if (all[waits_at].integer(0, 0) != 0) {
      REJOIN_TRY(fold(work_));
      REJOIN_ASSIGN(records, ask(db.queued()));
      answers = &records;
      folded = true;
    }
  }
  for (Group& g : groups) {
    std::vector<StoredRow> asked(g.asked.size()), stored(g.rows.size());
    if (!g.asked.empty()) REJOIN_TRY(read_records(work_, *g.table, (*answers)[g.records_at], asked));
    for (size_t i = 0; i < asked.size(); ++i) stored[g.asked_rows[i]] = std::move(asked[i]);
    std::vector<int64_t> exists(g.rows.size(), -1);
    const Rows nothing;
    const Rows& locked = locks ? all[g.locked_at] : nothing;
    const crdt::ColumnSet before = columns_before(*g.table);
    for (size_t i = 0; i < locked.size(); ++i)
      exists[g.locked[static_cast<size_t>(locked.integer(i, 0) - 1)]] = static_cast<int64_t>(i);
    for (size_t i = 0; i < g.rows.size(); ++i) {
      if (hope == Hope::new_rows && g.rows[i]->born && stored[i].known) {
        again.push_back(g.rows[i]);
        continue;
      }
      // A row that was deleted and inserted anew, or got the key of another, while the statement that locks waited:
      // that one sees neither, the fold tells of it, the next statement finds it.
      if (folded && exists[i] < 0 && stored[i].known && stored[i].record.alive) {
        again.push_back(g.rows[i]);
        continue;
      }
      Plan plan;
      plan.row = g.rows[i];
      // Rows without a record are new when they say so, else older than their tracking.
      plan.exists = locks ? exists[i] >= 0 : stored[i].known ? stored[i].record.alive : plan.row->theirs.birth.bottom();
      plan.looked = locks;
      if (plan.exists && locks) {
        const auto found = static_cast<size_t>(exists[i]);
        int column = 1;
        before.each(
            [&](uint32_t c) { plan.before[c] = read_value(locked, found, column++, g.table->columns[c].type); });
        plan.place = locked.text(found, column);
      }
      plan.stored = std::move(stored[i]);
      if (!plan.stored.known && plan.exists) plan.stored.record = before_tracking(*g.table);
      REJOIN_TRY(join(plan));
      // No statement would show that it is not there.
      otherwise_ |= plan.exists && !plan.looked && !plan.stored.known && plan.action == Plan::nothing;
      plans.push_back(std::move(plan));
    }
  }
  return {};
}

namespace {

struct Batch {
  const Table* table = nullptr;
  Target rows;
  crdt::ColumnSet columns, check;
  std::vector<Array> values;
  std::vector<size_t> plans;
  size_t result = 0;
  bool counted = false;  // the result is a number only
  explicit Batch(const Table& t) : table(&t), rows(t) {}
};

// Can a value of it be found that nobody has?
bool moves_aside(const Column& column) {
  return !column.not_null || column.type.kind == TypeClass::integer || column.type.kind == TypeClass::uuid ||
         (column.type.kind == TypeClass::text && column.type.characters);
}

// As much of it as a character string of this type takes: "character varying(8)".
std::string_view fitting(const Type& type, std::string_view random) {
  const size_t length = type.characters ? type.sql.find('(') : std::string::npos;
  if (length == std::string::npos) return random;
  const auto most = static_cast<size_t>(std::strtoul(type.sql.c_str() + length + 1, nullptr, 10));
  return random.substr(random.size() - std::min(most, random.size()));  // it begins with the time
}

}  // namespace

// PostgreSQL judges UNIQUE row by row within a statement, so rows that exchange values get others for a moment: NULL,
// or where that may not be one that nobody has.
Status Merge::move_aside(std::span<Plan> plans) {
  for (const Table& table : work_.catalog().tables) {
    std::map<crdt::ColumnSet, std::vector<const Plan*>> by_columns;
    for (const Plan& plan : plans) {
      if (plan.row->table != &table || plan.action != Plan::update) continue;
      crdt::ColumnSet columns = plan.columns;
      columns &= table.unique;
      plan.columns.each([&](uint32_t c) {
        if (!moves_aside(table.columns[c])) columns.remove(c);
      });
      if (!columns.empty()) by_columns[columns].push_back(&plan);
    }
    for (const auto& group : by_columns) {
      const crdt::ColumnSet& columns = group.first;
      const std::vector<const Plan*>& rows = group.second;
      Target target(table);
      std::vector<Array> values;
      for (const Plan* plan : rows) REJOIN_TRY(target.keys.add(plan->row->key));
      columns.each([&](uint32_t c) {
        const Column& column = table.columns[c];
        values.push_back(Array::texts());
        const auto first = static_cast<int64_t>(work_.tenant().random.u64() % 30'000);
        for (size_t i = 0; i < rows.size(); ++i) {
          const std::string random = uuid_v7(options_.now_ms, work_.tenant().random.bytes(10));
          if (!column.not_null)
            values.back().add_null();
          else if (column.type.kind == TypeClass::integer)
            // Large ones: CHECK (n >= 0) is what such columns have, if anything.
            values.back().add(BytesView(std::to_string(column.type.most - (first + static_cast<int64_t>(i)) % 30'000)));
          else
            values.back().add(BytesView(fitting(column.type, random)));
        }
      });
      send_update(work_, table, target, columns, values, {});
    }
  }
  return {};
}

// Under the caller's role: what a row was changed to before it was deleted is judged like any other change, by an
// UPDATE before the DELETE. Queues them; gives per statement its place in the results and how many rows it must report.
Status Merge::edit_before_erase(std::vector<Plan>& plans, size_t& results,
                                std::vector<std::pair<size_t, size_t>>& edits) {
  for (const Table& table : work_.catalog().tables) {
    std::map<crdt::ColumnSet, std::vector<const Plan*>> by_columns;
    for (const Plan& plan : plans) {
      if (plan.row->table != &table || plan.action != Plan::erase || plan.values.empty()) continue;
      crdt::ColumnSet columns;
      for (const auto& [c, value] : plan.values) columns.add(c);
      by_columns[columns].push_back(&plan);
    }
    for (const auto& group : by_columns) {
      Target rows(table);
      std::vector<Array> values;
      for (const Plan* plan : group.second) REJOIN_TRY(rows.keys.add(plan->row->key));
      Status fits;
      group.first.each([&](uint32_t c) {
        values.push_back(Array::texts());
        for (const Plan* plan : group.second) {
          const crdt::OwnedValue& value = plan->values.at(c);
          const bool null = value.scalar.type == crdt::ValueType::null;
          auto text = null ? Result<std::string>(std::string()) : text_of(table.columns[c].type, value.ref());
          if (!text.ok() && fits.ok()) fits = text.error();
          if (null || !text.ok())
            values.back().add_null();
          else
            values.back().add(BytesView(*text));
        }
      });
      if (!fits.ok()) {
        fault_ = SqlError{"", fits.error().message, "", ""};
        return fits;
      }
      send_update(work_, table, rows, group.first, values, {});
      edits.emplace_back(results++, group.second.size());
    }
  }
  return {};
}

// Rows that are changed by several statements are locked in key order before, as others who write many may do it. One
// statement takes its locks in that order by itself.
Status Merge::lock_in_turn(std::span<Plan> plans) {
  for (const Table& table : work_.catalog().tables) {
    std::set<std::pair<Plan::Action, crdt::ColumnSet>> statements;
    KeyArrays keys(table);
    for (const Plan& plan : plans) {
      if (plan.row->table != &table || (plan.action != Plan::update && plan.action != Plan::erase)) continue;
      statements.emplace(plan.action, plan.action == Plan::update ? plan.columns : crdt::ColumnSet());
      REJOIN_TRY(keys.add(plan.row->key));
    }
    if (statements.size() > 1) send_lock(work_, table, keys, {});
  }
  return {};
}

// Parents first, then their children, deletions the other way round and last: no foreign key is broken on the way, and
// no cascade runs that the pushing device has not seen itself.
Status Merge::write(std::vector<Plan>& plans, Hope hope, std::vector<Incoming*>& again) {
  std::vector<Batch> batches;
  Connection& db = work_.db();
  // Constraints that may be deferred are judged when all rows are there, and before it is said that they were taken.
  db.send("SET CONSTRAINTS ALL DEFERRED");
  options_.persona.enter(work_);
  if (aside_) REJOIN_TRY(move_aside(plans));
  if (hope == Hope::all) REJOIN_TRY(lock_in_turn(plans));
  size_t results = db.queued();
  auto gather = [&](const Table& table, Plan::Action action) -> Status {
    std::map<crdt::ColumnSet, size_t> by_columns;
    for (size_t p = 0; p < plans.size(); ++p) {
      Plan& plan = plans[p];
      if (plan.row->table != &table || plan.action != action) continue;
      std::vector<std::string> texts;
      Status fits;
      if (action != Plan::erase)
        plan.columns.each([&](uint32_t c) {
          if (!fits.ok()) return;
          auto text = text_of(table.columns[c].type, plan.values[c].ref());
          if (text.ok())
            texts.push_back(std::move(*text));
          else
            fits = fail(text.error().code, "column \"" + table.columns[c].name + "\": " + text.error().message);
        });
      if (!fits.ok()) {
        refuse(*plan.row, Code::refused, fits.error().message);
        plan.done = false;
        plan.action = Plan::nothing;
        continue;
      }
      auto [it, made] =
          by_columns.try_emplace(action == Plan::erase ? crdt::ColumnSet() : plan.columns, batches.size());
      if (made) {
        batches.emplace_back(table);
        if (action != Plan::erase) batches.back().columns = plan.columns;
        batches.back().values.assign(texts.size(), Array::texts());
      }
      Batch& b = batches[it->second];
      // What is written here for other rows may move it, by a trigger: then it is written again by its key.
      const bool moves = aside_ || (action == Plan::erase && options_.persona.on());
      if (hope == Hope::new_rows && !moves && action != Plan::insert)
        b.rows.places.add(BytesView(plan.place));
      else
        REJOIN_TRY(b.rows.keys.add(plan.row->key));
      b.plans.push_back(p);
      size_t i = 0;
      if (action != Plan::erase)
        plan.columns.each([&](uint32_t c) {
          if (plan.values[c].scalar.type == crdt::ValueType::null)
            b.values[i].add_null();
          else
            b.values[i].add(BytesView(texts[i]));
          if (table.before_triggers || !comes_back(table.columns[c].type, plan.values[c].ref())) b.check.add(c);
          ++i;
        });
    }
    for (auto& [columns, at] : by_columns) {
      Batch& b = batches[at];
      for (uint32_t c = 0; c < table.columns.size(); ++c)
        if (table.columns[c].present && !b.columns.has(c) &&
            (table.before_triggers || (action == Plan::insert && table.columns[c].has_default)))
          b.check.add(c);
      b.result = results++;
      // Where all are hoped to be met, and as they were sent, their number says enough.
      b.counted = hope == Hope::all && action != Plan::erase && b.check.empty() &&
                  (action != Plan::insert || keeps_keys(table));
      const Tell tell = b.counted ? Tell::number : Tell::rows;
      if (action == Plan::insert)
        send_insert(work_, table, b.rows.keys, b.columns, b.values, b.check, tell,
                    hope == Hope::all ? Taken::error : Taken::passed_over);
      else if (action == Plan::update)
        send_update(work_, table, b.rows, b.columns, b.values, b.check, tell);
      else
        send_delete(work_, table, b.rows);
      // PostgreSQL works on it while the next ones are put together.
      if (hope == Hope::all) db.start();
    }
    return {};
  };
  const Catalog& catalog = work_.catalog();
  for (size_t at : catalog.parents_first) {
    REJOIN_TRY(gather(catalog.tables[at], Plan::insert));
    REJOIN_TRY(gather(catalog.tables[at], Plan::update));
  }
  std::vector<std::pair<size_t, size_t>> edits;
  if (options_.persona.on()) REJOIN_TRY(edit_before_erase(plans, results, edits));
  for (size_t i = catalog.parents_first.size(); i > 0; --i)
    REJOIN_TRY(gather(catalog.tables[catalog.parents_first[i - 1]], Plan::erase));
  if (!batches.empty()) db.send("SET CONSTRAINTS ALL IMMEDIATE");
  options_.persona.leave(work_);
  if (batches.empty() && hope != Hope::all) return {};
  Presumed presumed;
  if (hope == Hope::all) {
    std::set<const Table*> filled;
    for (const Batch& b : batches)
      if (plans[b.plans[0]].action == Plan::insert && !b.check.empty()) filled.insert(b.table);
    presumed = presume(plans, filled);
  }
  REJOIN_ASSIGN(std::vector<Rows> all, db.sync());
  if (hope == Hope::all) {
    for (const auto& [table, at] : presumed.shapes) REJOIN_TRY(check_shape(work_, *table, all[at]));
    otherwise_ = all[presumed.waits_at].integer(0, 0) != 0;
    for (const Batch& b : batches)
      otherwise_ |= (b.counted ? all[b.result].affected() : all[b.result].size()) != b.plans.size();
    if (otherwise_) return {};
  }
  for (const auto& [result, rows] : edits)
    if (all[result].size() < rows) {
      fault_ = SqlError{"42501", kRoleMayNot, "", ""};
      return fail(Code::forbidden, kRoleMayNot);
    }

  for (Batch& b : batches) {
    if (b.counted) continue;
    const Table& table = *b.table;
    const Rows& rows = all[b.result];
    const Plan::Action action = plans[b.plans[0]].action;
    std::vector<bool> met(b.plans.size(), false);
    std::unordered_map<std::string_view, size_t> by_key;
    if (action == Plan::insert)
      for (size_t i = 0; i < b.plans.size(); ++i) by_key[plans[b.plans[i]].row->key] = i;
    std::vector<TextElement> key;
    for (size_t r = 0; r < rows.size(); ++r) {
      size_t i;
      int column = 1;
      if (action == Plan::insert) {
        key.clear();
        for (size_t k = 0; k < table.key.size(); ++k) key.push_back({false, rows.bytes(r, static_cast<int>(k))});
        const Bytes encoded = encode_text_key(table, key);
        auto found = by_key.find(encoded);
        if (found == by_key.end()) {
          fault_ = SqlError{"", "PostgreSQL stored the row under another key: a trigger changed it, or its type rounds",
                            "", ""};
          return fail(Code::refused, fault_->message);
        }
        i = found->second;
        column = static_cast<int>(table.key.size());
      } else {
        i = static_cast<size_t>(rows.integer(r, 0) - 1);
      }
      met[i] = true;
      Plan& plan = plans[b.plans[i]];
      if (action == Plan::erase) {
        // The last values, the news that came with the deletion included.
        for (uint32_t c = 0; c < table.columns.size(); ++c) {
          if (!table.columns[c].present) continue;
          plan.stored.held[c] = read_value(rows, r, column++, table.columns[c].type);
        }
        for (auto& [c, v] : plan.values) plan.stored.held[c] = v;
        continue;
      }
      b.check.each([&](uint32_t c) {
        crdt::OwnedValue now = read_value(rows, r, column++, table.columns[c].type);
        auto sent = plan.values.find(c);
        auto before = plan.before.find(c);
        const crdt::OwnedValue nothing{};
        const crdt::OwnedValue& expected = sent != plan.values.end()     ? sent->second
                                           : before != plan.before.end() ? before->second
                                                                         : nothing;
        if (!crdt::same_value(now.ref(), expected.ref())) plan.echoed.add(c);
      });
    }
    for (size_t i = 0; i < met.size(); ++i) {
      if (met[i]) continue;
      plans[b.plans[i]].done = false;
      if (action == Plan::insert || hope != Hope::none)
        again.push_back(plans[b.plans[i]].row);  // it is there already, or has moved
      else
        refuse_not_taken(*plans[b.plans[i]].row);
    }
  }
  // Of these the record tells what was sent, not what was stored: it is written once more.
  for (const auto& [table, at] : presumed.records) {
    std::unordered_map<std::string_view, size_t> places;
    for (size_t r = 0; r < all[at].size(); ++r) places[all[at].bytes(r, 0)] = r;
    for (Plan& plan : plans)
      if (plan.row->table == table && plan.recorded && !plan.echoed.empty())
        plan.stored.place = all[at].text(places[plan.row->key], 1);
  }
  return {};
}

// Queues, behind what is written to the tables, the records of new rows, and the questions whether nobody else has
// written these tables or changed what they are: asked when the rows are locked by having been written. A captured
// write that is not folded yet may be one of a row that was joined without it.
Merge::Presumed Merge::presume(std::vector<Plan>& plans, const std::set<const Table*>& filled) {
  Connection& db = work_.db();
  Presumed out;
  for (const Table& table : work_.catalog().tables) {
    RecordBatch records;
    bool met = false, any = false;
    for (Plan& plan : plans) {
      if (plan.row->table != &table) continue;
      met = true;
      if (plan.action != Plan::insert || !plan.row->born) continue;
      records.add_new(plan.row->key, plan.stored.record);
      any = plan.recorded = true;
    }
    if (!met) continue;
    // PostgreSQL may fill in columns of them.
    const bool places = any && filled.contains(&table);
    if (places) out.records.emplace_back(&table, db.queued());
    records.send(work_, table, places);
    out.shapes.emplace_back(&table, db.queued());
    send_shape(work_, table);
  }
  out.waits_at = db.queued();
  db.send(waits(work_.catalog()));
  return out;
}

// What was written becomes records and log entries.
void Merge::keep(std::vector<Plan>& plans) {
  for (const Plan& plan : plans)
    if (plan.done) work_.state.last = std::max(work_.state.last, plan.row->newest);
  // What PostgreSQL's own triggers and defaults made of a row is a write of the server's.
  const crdt::Stamp echo{std::max(crdt::hlc_of_ms(options_.now_ms), work_.state.last + 1), Work::kOwnSite};
  std::map<int64_t, RecordBatch> records;
  for (Plan& plan : plans) {
    if (!plan.done) continue;
    const Table& table = *plan.row->table;
    if (options_.persona.guards(table) && (plan.join.live_lost || !plan.join.lost.empty())) {
      // What won may be nothing that its device sees. It is told anew what the row is to it.
      log_.add(table, Work::kOwnSite, plan.row->key, true, true, {});
      shown_[table.id].push_back(plan.row->key);
    }
    if (!plan.join.changed()) continue;
    crdt::RowRecord& record = plan.stored.record;
    if (record.alive) plan.stored.held.clear();
    if (!plan.echoed.empty()) {
      crdt::ColumnSet made = plan.echoed, filled;
      // A row that comes without what others wrote of it, as its maker sends its own only: a DEFAULT in its place is as
      // old as the row, and gives way to them. Only one that is the same each time: it may be filled in once more,
      // after a restore, and one stamp is one value.
      const bool own = record.birth.site == Work::kOwnSite;
      if (plan.action == Plan::insert && !record.birth.bottom())
        made.each([&](uint32_t c) {
          if (record.stamp_of(c).bottom() && (own || table.columns[c].constant)) filled.add(c);
        });
      made -= filled;
      record.write(filled, own ? record.birth : crdt::Stamp{record.birth.hlc + 1, Work::kOwnSite});
      record.write(made, echo);
      crdt::canonicalise(record, work_.sites());
      work_.state.last = echo.hlc;
      log_.add(table, Work::kOwnSite, plan.row->key, false, false, plan.echoed);
    }
    if (!plan.kept.empty()) {
      // Above the row's birth, and below what anybody wrote since.
      const crdt::Stamp stamp{record.birth.hlc + 1, Work::kOwnSite};
      record.write(plan.kept, stamp);
      crdt::canonicalise(record, work_.sites());
      work_.state.last = std::max(work_.state.last, stamp.hlc);
      log_.add(table, Work::kOwnSite, plan.row->key, false, false, plan.kept);
    }
    if (!plan.recorded || !plan.echoed.empty()) records[table.id].add(plan.row->key, plan.stored);
    if (record.alive && options_.persona.guards(table)) shown_[table.id].push_back(plan.row->key);
    log_.add(table, origin_, plan.row->key, plan.join.live_won || plan.join.birth_won, record.alive && !plan.was_alive,
             plan.join.won);
    ++outcome_.rows_changed;
  }
  for (auto& [id, batch] : records) batch.send(work_, *work_.catalog().find(id));
  log_.send_full(work_);
  work_.db().start();
}

}  // namespace rejoin::postgres
