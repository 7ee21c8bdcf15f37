#include "sync/audit.h"

#include <map>
#include <utility>

#include "codec/changeset.h"
#include "crdt/key.h"

namespace rejoin::sync {
namespace {

constexpr size_t kBatch = 4'000;

std::string op_of(const codec::BlockInfo& block, const crdt::RowRecord& record) {
  if (!block.with_life) return "update";
  return record.alive ? "insert" : "delete";
}

}  // namespace

Status audit_push(const PushRequest& request, const Result<PushReply>& reply, const std::string& tenant,
                  AuditSink& sink) {
  AuditEntry all;
  all.device = request.device;
  all.nonce = request.nonce;
  if (!reply.ok()) {
    if (code_retryable(reply.error().code)) return {};
    all.event = "refused";
    all.code = code_name(reply.error().code);
    all.reason = reply.error().message;
    return sink.write(tenant, {all});
  }
  std::map<std::pair<std::string, Bytes>, const RefusedRow*> refused;
  for (const RefusedRow& row : reply->outcome.refused) refused[{row.table, row.key}] = &row;
  REJOIN_ASSIGN(const auto reader, codec::ChangesetReader::open(request.frame, request.limits));
  std::vector<uint32_t> sites(reader.sites().size());
  for (uint32_t i = 0; i < sites.size(); ++i) sites[i] = i;
  std::vector<AuditEntry> entries;
  for (size_t b = 0; b < reader.blocks().size(); ++b) {
    const codec::BlockInfo& block = reader.blocks()[b];
    const codec::WireTable& table = reader.tables()[block.table];
    std::vector<uint32_t> columns(table.columns.size());
    for (uint32_t i = 0; i < columns.size(); ++i) columns[i] = i;
    AuditEntry entry = all;
    entry.table = table.name;
    for (uint32_t column : block.columns) entry.columns.push_back(table.columns[column]);
    codec::BlockCursor rows = reader.rows(b, sites, columns);
    while (rows.next()) {
      entry.event = "push";
      entry.code.clear(), entry.reason.clear();
      entry.op = op_of(block, rows.record());
      entry.key = crdt::key_json(rows.key(), table.key.size());
      entry.written_ms = crdt::ms_of_hlc(rows.newest());
      if (const auto found = refused.find({table.name, Bytes(rows.key())}); found != refused.end()) {
        entry.event = "refused";
        entry.code = code_name(found->second->code);
        entry.reason = found->second->reason;
      }
      entries.push_back(entry);
      if (entries.size() < kBatch) continue;
      REJOIN_TRY(sink.write(tenant, entries));
      entries.clear();
    }
  }
  return entries.empty() ? Status() : sink.write(tenant, entries);
}

}  // namespace rejoin::sync
