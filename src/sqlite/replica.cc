#include "sqlite/replica.h"

#include "base/version.h"
#include "crdt/print.h"
#include "sqlite/alter.h"
#include "sqlite/alter_session.h"
#include "sqlite/apply.h"
#include "sqlite/compact.h"
#include "sqlite/discard.h"
#include "sqlite/enforcement.h"
#include "sqlite/explain.h"
#include "sqlite/extract.h"
#include "sqlite/fold.h"
#include "sqlite/identity.h"
#include "sqlite/impl.h"
#include "sqlite/layout.h"
#include "sqlite/migrate.h"
#include "sqlite/rejections.h"
#include "sqlite/track.h"

namespace rejoin::sqlite {

Replica::Replica(sqlite3* db, Clock& clock, Random& random) : impl_(std::make_unique<Impl>(db, clock, random)) {}
Replica::~Replica() = default;

Status Replica::track(const std::string& table, const TrackOptions& options) {
  return sqlite::track(impl_->ctx, table, options);
}
Status Replica::untrack(const std::string& table) { return sqlite::untrack(impl_->ctx, table); }

Result<int64_t> Replica::migrate(const std::string& contract_json) {
  return sqlite::migrate(impl_->ctx, contract_json);
}

Status Replica::alter(const std::string& sql) { return sqlite::alter(impl_->ctx, sql); }
Status Replica::alter_begin(const std::string& table) { return sqlite::alter_begin(impl_->ctx, table); }
Status Replica::alter_commit(const std::string& table) { return sqlite::alter_commit(impl_->ctx, table); }

contract::Contract current_contract(Context& ctx) {
  contract::Contract contract;
  for (const auto& t : ctx.catalog.tables) contract.tables.push_back(to_contract(*t));
  std::sort(contract.tables.begin(), contract.tables.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return contract;
}

Result<std::vector<TableInfo>> Replica::tables() {
  Context& ctx = impl_->ctx;
  std::vector<TableInfo> out;
  REJOIN_ASSIGN(bool layout, has_layout(ctx));
  if (!layout) return out;
  REJOIN_ASSIGN(Work work, begin_look(ctx, Freshness::as_folded));
  for (const auto& t : ctx.catalog.tables) {
    TableInfo info;
    info.name = t->name;
    info.id = t->id;
    for (const Column& c : t->key) info.key.push_back(c.name);
    for (const Column& c : t->columns)
      if (c.present) info.columns.push_back(c.name);
    out.push_back(std::move(info));
  }
  REJOIN_TRY(work.commit());
  return out;
}

Result<std::string> Replica::contract_json() {
  REJOIN_ASSIGN(Work work, begin_look(impl_->ctx, Freshness::as_folded));
  std::string out = contract::to_json(current_contract(impl_->ctx));
  REJOIN_TRY(work.commit());
  return out;
}

Result<crdt::SiteId> Replica::site() {
  REJOIN_ASSIGN(bool layout, has_layout(impl_->ctx));
  if (!layout) {
    REJOIN_ASSIGN(Work made, Work::write(impl_->ctx, true));
    REJOIN_TRY(made.commit());
  }
  REJOIN_ASSIGN(Work work, begin_look(impl_->ctx, Freshness::as_folded));
  crdt::SiteId id = impl_->ctx.sites[work.state.site];
  REJOIN_TRY(work.commit());
  return id;
}

Result<int64_t> Replica::seq() {
  REJOIN_ASSIGN(bool layout, has_layout(impl_->ctx));
  if (!layout) return int64_t{0};
  // Folded if it may be, so that the position lies between two batches. A fold that failed, or was stopped, is told.
  if (auto work = begin_export(impl_->ctx); work.ok()) {
    REJOIN_TRY(work->commit());
  } else {
    const Code code = work.error().code;
    bool told = code == Code::disk || code == Code::overloaded || code == Code::interrupted;
    // Where it may be written, the journal could not be opened.
    if (code == Code::read_only) {
      REJOIN_ASSIGN(told, can_write(impl_->ctx));
    }
    if (told) return std::move(work).error();
  }
  REJOIN_ASSIGN(auto tail, query_int(impl_->ctx.db, "SELECT max(seq) FROM main.rejoin_log"));
  return tail.value_or(0);
}

Status Replica::take_new_identity() {
  REJOIN_ASSIGN(Work work, Work::write(impl_->ctx, true));
  REJOIN_TRY(sqlite::fold(work));
  REJOIN_TRY(sqlite::take_new_identity(work));
  return work.commit();
}

Result<std::optional<Bytes>> Replica::changeset(int64_t since) {
  REJOIN_ASSIGN(Work work, begin_export(impl_->ctx));
  PageRequest request;
  request.pass_on = true;
  REJOIN_ASSIGN(request.cursor, cursor_at_position(work, since, true));
  REJOIN_ASSIGN(Page page, extract_page_in(work, request));
  REJOIN_TRY(work.commit());
  if (page.frame.empty() || page.rows == 0) return std::optional<Bytes>();
  return std::optional<Bytes>(std::move(page.frame));
}

Result<Page> Replica::page(const PageRequest& request) { return extract_page(impl_->ctx, request); }

Result<Bytes> Replica::cursor_at(int64_t since) {
  REJOIN_ASSIGN(Work work, begin_export(impl_->ctx));
  REJOIN_ASSIGN(Bytes cursor, cursor_at_position(work, since, false));
  REJOIN_TRY(work.commit());
  return cursor;
}

Result<sync::ApplyOutcome> Replica::apply(BytesView frame, const ApplyOptions& options) {
  return sqlite::apply(impl_->ctx, frame, options);
}

Result<std::string> Replica::explain(const std::string& table, const std::vector<crdt::ValueRef>& key) {
  return sqlite::explain(impl_->ctx, table, key);
}
Result<bool> Replica::restore(const std::string& table, const std::vector<crdt::ValueRef>& key) {
  return sqlite::restore(impl_->ctx, table, key);
}

Result<int64_t> Replica::retry() {
  REJOIN_ASSIGN(Work work, Work::write(impl_->ctx));
  REJOIN_TRY(sqlite::fold(work));
  REJOIN_ASSIGN(int64_t rows, retry_rejections(work));
  REJOIN_TRY(work.commit());
  return rows;
}

Result<bool> Replica::discard(const std::string& table, const std::vector<crdt::ValueRef>& key) {
  return leaving_rollbacks_out(impl_->ctx, [&] { return sqlite::discard(impl_->ctx, table, key); });
}
Result<int64_t> Replica::discard_all() {
  return leaving_rollbacks_out(impl_->ctx, [&] { return sqlite::discard_all(impl_->ctx); });
}

Status Replica::fold() {
  return leaving_rollbacks_out(impl_->ctx, [&]() -> Status {
    REJOIN_ASSIGN(Work work, Work::write(impl_->ctx));
    REJOIN_TRY(sqlite::fold(work));
    return work.commit();
  });
}

Result<int64_t> Replica::compact(std::optional<int64_t> keep_days) {
  return leaving_rollbacks_out(impl_->ctx, [&] { return sqlite::compact(impl_->ctx, keep_days); });
}
Result<std::string> Replica::doctor() { return sqlite::doctor(impl_->ctx); }

Result<std::string> Replica::version_json() {
  return "{\"rejoin\":" + crdt::json_string(kVersion) + ",\"sqlite\":" + crdt::json_string(sqlite3_libversion()) +
         ",\"format\":" + std::to_string(kFormat) + "}";
}

}  // namespace rejoin::sqlite
