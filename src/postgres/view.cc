#include "postgres/view.h"

#include <algorithm>

#include "postgres/base_rows.h"
#include "postgres/fold.h"
#include "postgres/records.h"

namespace rejoin::postgres {
namespace {

constexpr size_t kViewRows = 2'000;
constexpr int64_t kUsedHoldsMs = int64_t{24} * 3600 * 1000;  // of rejoin.view.used

int64_t at_rest(uint64_t view) { return static_cast<int64_t>(view); }

Array array_of(const std::vector<Bytes>& keys) {
  Array out = Array::byteas();
  for (const Bytes& key : keys) out.add(BytesView(key));
  return out;
}

// Rows of which the view sees more, or less, than it was given.
struct Changes {
  Keys seen, hidden;
  bool any() const { return !seen.empty() || !hidden.empty(); }
};

Status look_at(Work& look, const Persona& persona, const Table& table, Changes& changes, LeftOut& failing) {
  Bytes after;
  for (;;) {
    REJOIN_ASSIGN(Rows rows, look.db().query(
                                 "SELECT k FROM rejoin.record WHERE tenant = $1::integer AND tbl = $2::integer AND k > "
                                 "$3 AND get_byte(rec, 0) & 1 = 1 ORDER BY k LIMIT " +
                                     std::to_string(kViewRows),
                                 Params().integer(look.state.id).integer(table.id).bytea(after)));
    std::vector<BytesView> keys;
    KeyArrays arrays(table);
    for (size_t i = 0; i < rows.size(); ++i) {
      keys.push_back(rows.bytes(i, 0));
      REJOIN_TRY(arrays.add(keys.back()));
    }
    if (keys.empty()) return {};
    after = keys.back();
    persona.enter_to_read(look);
    const size_t at = look.db().queued();
    send_select(look, table, arrays, {});
    persona.leave_read(look);
    const size_t shown_at = look.db().queued();
    send_shown(look, table, keys, persona.view(), persona.view());
    auto answers = look.db().sync();
    if (!answers.ok()) return persona.leave_out(look, table, answers.error(), failing);
    const std::vector<Rows> all = std::move(*answers);
    std::vector<bool> visible(keys.size(), false);
    for (size_t i = 0; i < all[at].size(); ++i) visible[static_cast<size_t>(all[at].integer(i, 0) - 1)] = true;
    const std::vector<Shown> shown = read_shown(all[shown_at], keys.size());
    for (size_t i = 0; i < keys.size(); ++i)
      if (visible[i] != shown[i].now) (visible[i] ? changes.seen : changes.hidden)[table.id].emplace_back(keys[i]);
  }
}

}  // namespace

void send_shown(Work& work, const Table& table, const std::vector<BytesView>& keys, uint64_t view, uint64_t other) {
  Array list = Array::byteas();
  for (BytesView key : keys) list.add(key);
  // Each view by a lookup of the whole key: a plan that was made while the table was empty is kept.
  work.db().send(
      "SELECT u.n, a.seen, b.seen FROM unnest($5::bytea[]) WITH ORDINALITY AS u(k, n) LEFT JOIN LATERAL (SELECT x.seen "
      "FROM rejoin.shown AS x WHERE x.tenant = $1::integer AND x.view = $3 AND x.tbl = $2::integer AND x.k = u.k "
      "OFFSET "
      "0) AS a ON true LEFT JOIN LATERAL (SELECT x.seen FROM rejoin.shown AS x WHERE x.tenant = $1::integer AND x.view "
      "= "
      "$4 AND x.tbl = $2::integer AND x.k = u.k OFFSET 0) AS b ON true",
      Params().integer(work.state.id).integer(table.id).integer(at_rest(view)).integer(at_rest(other)).array(list));
}

std::vector<Shown> read_shown(const Rows& rows, size_t keys) {
  std::vector<Shown> out(keys);
  for (size_t i = 0; i < rows.size(); ++i) {
    Shown& shown = out[static_cast<size_t>(rows.integer(i, 0) - 1)];
    shown.ever = !rows.is_null(i, 1) || !rows.is_null(i, 2);
    shown.now = !rows.is_null(i, 1) && rows.integer(i, 1) != 0;
  }
  return out;
}

Result<bool> is_noted(Work& work, uint64_t view) {
  REJOIN_ASSIGN(Rows rows,
                work.db().query("SELECT EXISTS (SELECT FROM rejoin.view WHERE tenant = $1::integer AND view = "
                                "$2 AND whole)",
                                Params().integer(work.state.id).integer(at_rest(view))));
  return rows.integer(0, 0) != 0;
}

bool notes_all(const Catalog& catalog, const Persona& persona) {
  return std::none_of(catalog.tables.begin(), catalog.tables.end(),
                      [&](const Table& table) { return persona.guards(table) && persona.push_only(table); });
}

Result<bool> is_known(Work& work, uint64_t view, int64_t since_ms) {
  REJOIN_ASSIGN(Rows rows,
                work.db().query("SELECT EXISTS (SELECT FROM rejoin.view WHERE tenant = $1::integer AND view = "
                                "$2 AND used >= $3)",
                                Params().integer(work.state.id).integer(at_rest(view)).integer(since_ms)));
  return rows.integer(0, 0) != 0;
}

void note_shown(Work& work, uint64_t view, const Keys& keys) {
  for (const auto& [table, list] : keys)
    work.db().send(
        "INSERT INTO rejoin.shown AS s (tenant, view, tbl, k, seen) SELECT DISTINCT $1::integer, $2, $3::integer, u.k, "
        "true "
        "FROM "
        "unnest($4::bytea[]) AS u(k) ON CONFLICT (tenant, view, tbl, k) DO UPDATE SET seen = true WHERE NOT s.seen",
        Params().integer(work.state.id).integer(at_rest(view)).integer(table).array(array_of(list)));
}

void note_used(Work& work, uint64_t view, bool whole) {
  work.db().send(
      "INSERT INTO rejoin.view AS v (tenant, view, used, whole) VALUES ($1::integer, $2, $3, $4 <> 0) ON CONFLICT "
      "(tenant, view) DO UPDATE SET used = $3 WHERE v.used < $3",
      Params().integer(work.state.id).integer(at_rest(view)).integer(work.tenant().clock.now_ms()).integer(whole));
}

void note_hidden(Work& work, uint64_t view, const Keys& keys) {
  for (const auto& [table, list] : keys)
    work.db().send(
        "UPDATE rejoin.shown AS s SET seen = false FROM (SELECT x.place FROM unnest($4::bytea[]) AS u(k) CROSS JOIN "
        "LATERAL (SELECT y.ctid AS place FROM rejoin.shown AS y WHERE y.tenant = $1::integer AND y.view = $2 AND y.tbl "
        "= "
        "$3::integer AND y.k = u.k OFFSET 0) AS x) AS p WHERE s.ctid = p.place",
        Params().integer(work.state.id).integer(at_rest(view)).integer(table).array(array_of(list)));
}

void forget_shown(Work& work, const Table& table, const Array& keys) {
  work.db().send(
      "DELETE FROM rejoin.shown AS s USING (SELECT x.place FROM rejoin.view AS v CROSS JOIN unnest($3::bytea[]) AS "
      "u(k) "
      "CROSS JOIN LATERAL (SELECT y.ctid AS place FROM rejoin.shown AS y WHERE y.tenant = $1::integer AND y.view = "
      "v.view AND y.tbl = $2::integer AND y.k = u.k OFFSET 0) AS x WHERE v.tenant = $1::integer) AS p WHERE s.ctid = "
      "p.place",
      Params().integer(work.state.id).integer(table.id).array(keys));
}

void forget_views(Work& work, int64_t before_ms) {
  work.db().send(
      "DELETE FROM rejoin.shown s USING rejoin.view v WHERE v.tenant = $1::integer AND v.used < $2 AND s.tenant = "
      "v.tenant AND s.view = v.view",
      Params().integer(work.state.id).integer(before_ms));
  work.db().send("DELETE FROM rejoin.view WHERE tenant = $1::integer AND used < $2",
                 Params().integer(work.state.id).integer(before_ms));
}

Result<LeftOut> recheck_view(Connection& db, Tenant& tenant, const Impersonation& as, const sync::Identity* who,
                             const crdt::SiteId& site, const std::vector<uint64_t>& left_out) {
  Changes changes;
  LeftOut failing;
  uint64_t view = 0;
  bool fresh = false, whole = false;
  {
    REJOIN_ASSIGN(Work look, Work::begin(db, tenant, Work::Mode::look));
    if (look.state.id == 0) {
      REJOIN_TRY(look.commit());
      return failing;
    }
    REJOIN_ASSIGN(Persona persona, Persona::of(look, as, who, site));
    view = persona.view();
    whole = notes_all(look.catalog(), persona);
    REJOIN_ASSIGN(fresh, is_known(look, view, tenant.clock.now_ms() - kUsedHoldsMs));
    for (const Table& table : look.catalog().tables)
      if (persona.guards(table) && persona.may_pull(table)) REJOIN_TRY(look_at(look, persona, table, changes, failing));
    REJOIN_TRY(look.commit());
  }
  // They come whole when they can be read again.
  for (uint64_t id : left_out)
    for (Keys* keys : {&changes.seen, &changes.hidden}) keys->erase(static_cast<int64_t>(id));
  if (fresh && !changes.any()) return failing;
  REJOIN_ASSIGN(Work work, Work::begin(db, tenant, Work::Mode::merge));
  LogBatch log;
  for (const Keys* keys : {&changes.seen, &changes.hidden})
    for (const auto& [id, list] : *keys)
      if (const Table* table = work.catalog().find(id))
        for (const Bytes& key : list) log.add(*table, Work::kOwnSite, key, true, true, {});
  log.send(work);
  note_hidden(work, view, changes.hidden);
  note_used(work, view, whole);
  REJOIN_TRY(work.commit());
  return failing;
}

}  // namespace rejoin::postgres
