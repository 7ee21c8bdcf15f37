#include "contract/contract.h"
#include "crdt/print.h"
#include "sqlite/ended.h"
#include "sqlite/explain.h"
#include "sqlite/fold.h"
#include "sqlite/impl.h"
#include "sqlite/layout.h"

namespace rejoin::sqlite {

Result<std::optional<Connection>> stored_connection(Replica& replica) {
  Context& ctx = replica.impl().ctx;
  REJOIN_ASSIGN(bool layout, has_layout(ctx));
  if (!layout) return std::optional<Connection>();
  REJOIN_ASSIGN(Statement s,
                prepare(ctx.db, "SELECT url, coalesce(token, ''), migrate FROM main.rejoin_peer WHERE is_default"));
  REJOIN_ASSIGN(bool row, s.step("reading the connection"));
  if (!row) return std::optional<Connection>();
  return std::optional<Connection>(Connection{std::string(s.text(0)), std::string(s.text(1)), s.integer(2) != 0});
}

std::string file_of(Replica& replica) {
  const char* path = sqlite3_db_filename(replica.impl().ctx.db, "main");
  return path ? path : "";
}

Status store_connection(Replica& replica, const Connection& connection) {
  if (connection.url.rfind("http://", 0) != 0 && connection.url.rfind("https://", 0) != 0)
    return fail(Code::bad_argument,
                "\"" + connection.url + "\" is not a server's address; it starts with http:// or https://");
  Context& ctx = replica.impl().ctx;
  REJOIN_ASSIGN(Work work, Work::write(ctx, true));
  REJOIN_TRY(exec(ctx.db, "UPDATE main.rejoin_peer SET is_default=0"));
  {
    REJOIN_ASSIGN(Statement s,
                  prepare(ctx.db,
                          "INSERT INTO main.rejoin_peer(url, token, is_default, migrate) VALUES(?1, ?2, 1, "
                          "coalesce(?3, 0)) ON CONFLICT(url) DO UPDATE SET token=coalesce(?2, token), "
                          "is_default=1, migrate=coalesce(?3, migrate)"));
    s.bind_text(1, connection.url);
    if (connection.token.empty())
      s.bind_null(2);
    else
      s.bind_text(2, connection.token);
    if (connection.migrate)
      s.bind(3, static_cast<int64_t>(*connection.migrate));
    else
      s.bind_null(3);
    REJOIN_TRY(s.run("storing the connection"));
  }
  return work.commit();
}

Result<std::string> status_json(Replica& replica) {
  Context& ctx = replica.impl().ctx;
  REJOIN_ASSIGN(bool layout, has_layout(ctx));
  if (!layout)
    return std::string(
        "{\"site\":null,\"tables\":[],\"seq\":0,\"url\":null,\"pushed\":0,\"pulled\":0,\"pending\":0,\"rejected\":0,"
        "\"parked\":0,\"last_sync\":null,\"last_error\":null}");
  REJOIN_ASSIGN(Work work, begin_look(ctx, Freshness::as_folded));
  REJOIN_ASSIGN(int64_t tail, log_tail(ctx));
  std::string tables;
  for (const auto& t : ctx.catalog.tables) tables += (tables.empty() ? "" : ",") + crdt::json_string(t->name);
  std::string url = "null", last_sync = "null", last_error = "null";
  int64_t pushed_rows = 0, pulled_rows = 0, pushed = 0;
  {
    REJOIN_ASSIGN(Statement s,
                  prepare(ctx.db,
                          "SELECT url, pushed_rows, pulled_rows, pushed, last_sync, last_error FROM main.rejoin_peer "
                          "WHERE url NOT GLOB 'replica:*' ORDER BY is_default DESC LIMIT 1"));
    REJOIN_ASSIGN(bool row, s.step());
    if (row) {
      url = crdt::json_string(s.text(0));
      pushed_rows = s.integer(1);
      pulled_rows = s.integer(2);
      pushed = s.integer(3);
      if (!s.is_null(4)) last_sync = crdt::json_string(iso8601(s.integer(4)));
      if (!s.is_null(5)) last_error = crdt::json_string(s.text(5));
    }
  }
  // Writes made here that the server has not acknowledged: the log holds one entry for each, and one for each list of
  // rows (those from before tracking, and refused ones that go out again).
  int64_t pending = 0;
  {
    REJOIN_ASSIGN(Statement s, prepare(ctx.db, "SELECT count(*), NULL FROM main.rejoin_log WHERE seq>?1 AND op<=" +
                                                   std::to_string(kSuspect) +
                                                   " UNION ALL SELECT 1, substr(k0, 1, 10) FROM main.rejoin_log WHERE "
                                                   "seq>?1 AND op=" +
                                                   std::to_string(kMerged) + " AND bits=?2"));
    s.bind(1, pushed);
    s.bind(2, static_cast<int64_t>(work.state.site));
    for (;;) {
      REJOIN_ASSIGN(bool row, s.step("counting what is not sent"));
      if (!row) break;
      pending += s.is_null(1) ? s.integer(0) : static_cast<int64_t>(ByteReader(s.blob(1)).varint());
    }
  }
  REJOIN_ASSIGN(auto rejected, query_int(ctx.db, "SELECT count(*) FROM main.rejoin_rejections"));
  REJOIN_ASSIGN(auto parked, query_int(ctx.db, "SELECT count(*) FROM main.rejoin_aside WHERE due IS NOT -1"));
  std::string out =
      "{\"site\":\"" + to_hex(ctx.sites[work.state.site].view()) + "\",\"tables\":[" + tables +
      "],\"seq\":" + std::to_string(tail) + ",\"url\":" + url + ",\"pushed\":" + std::to_string(pushed_rows) +
      ",\"pulled\":" + std::to_string(pulled_rows) + ",\"pending\":" + std::to_string(pending) +
      ",\"rejected\":" + std::to_string(rejected.value_or(0)) + ",\"parked\":" + std::to_string(parked.value_or(0)) +
      ",\"last_sync\":" + last_sync + ",\"last_error\":" + last_error;
  REJOIN_ASSIGN(const std::vector<EndedTable> ended, ended_tables(ctx));
  for (size_t i = 0; i < ended.size(); ++i)
    out += std::string(i ? "," : ",\"not_synced\":[") + "{\"table\":" + crdt::json_string(ended[i].name) +
           ",\"unsent\":" + std::to_string(ended[i].unsent) + ",\"message\":" + crdt::json_string(ended[i].message) +
           "}";
  out += ended.empty() ? "}" : "]}";
  REJOIN_TRY(work.commit());
  return out;
}

}  // namespace rejoin::sqlite
