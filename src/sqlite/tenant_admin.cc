#include <algorithm>

#include "sqlite/fold.h"
#include "sqlite/impl.h"
#include "sync/tenant_admin.h"

namespace rejoin::sqlite {
namespace {

class SqliteTenantAdmin final : public sync::TenantAdmin {
 public:
  explicit SqliteTenantAdmin(Replica& replica) : ctx_(replica.impl().ctx) {}

  Result<sync::TenantInfo> info() override {
    REJOIN_ASSIGN(Work work, Work::write_if_missing(ctx_));
    sync::TenantInfo out;
    uint64_t records = 0;
    for (const auto& table : ctx_.catalog.tables) {
      REJOIN_ASSIGN(const uint64_t rows, number("SELECT count(*) FROM " + table->quoted()));
      REJOIN_ASSIGN(const uint64_t known, number("SELECT count(*) FROM " + table->records()));
      out.rows += rows;
      records += known;
    }
    out.deleted = records > out.rows ? records - out.rows : 0;
    REJOIN_ASSIGN(out.devices, number("SELECT count(*) FROM main.rejoin_device"));
    REJOIN_ASSIGN(const uint64_t seen, number("SELECT coalesce(max(last_seen), 0) FROM main.rejoin_device"));
    out.last_seen_ms = static_cast<int64_t>(seen);
    REJOIN_ASSIGN(out.log_rows, number("SELECT count(*) FROM main.rejoin_log"));
    REJOIN_ASSIGN(const uint64_t pages, number("PRAGMA main.page_count"));
    REJOIN_ASSIGN(const uint64_t page, number("PRAGMA main.page_size"));
    out.bytes = pages * page;
    REJOIN_TRY(work.commit());
    return out;
  }

  Result<std::vector<sync::DeviceInfo>> devices() override {
    REJOIN_ASSIGN(Work work, Work::write_if_missing(ctx_));
    REJOIN_ASSIGN(const int64_t tail, log_tail(ctx_));
    std::vector<sync::DeviceInfo> out;
    {
      REJOIN_ASSIGN(
          Statement * s,
          ctx_.statement("SELECT device, site, last_seen, acknowledged, (SELECT coalesce(sum(length(frame)), 0) FROM "
                         "main.rejoin_staged AS p WHERE p.source=d.site) FROM main.rejoin_device AS d ORDER BY device, "
                         "last_seen DESC, site"));
      Use use(*s);
      for (;;) {
        REJOIN_ASSIGN(const bool row, s->step("listing devices"));
        if (!row) break;
        sync::DeviceInfo device;
        device.device = s->text(0);
        if (s->blob(1).size() == 16) device.site = crdt::SiteId::from(s->blob(1));
        device.last_seen_ms = s->integer(2);
        device.pending = static_cast<uint64_t>(std::max<int64_t>(0, tail - s->integer(3)));
        device.staged_bytes = static_cast<uint64_t>(s->integer(4));
        out.push_back(std::move(device));
      }
    }
    REJOIN_TRY(work.commit());
    return out;
  }

  Result<uint64_t> forget(const std::string& device) override {
    REJOIN_ASSIGN(Work work, Work::write(ctx_, true));
    for (const char* of : {"staged", "stream"})
      REJOIN_TRY(run(std::string("DELETE FROM main.rejoin_") + of +
                         " WHERE source IN (SELECT site FROM main.rejoin_device WHERE device=?1)",
                     device));
    REJOIN_TRY(run("DELETE FROM main.rejoin_device WHERE device=?1", device));
    const auto sites = static_cast<uint64_t>(sqlite3_changes64(ctx_.db));
    if (sites == 0) return fail(Code::not_found, "this tenant has no device \"" + device + "\"");
    REJOIN_TRY(work.commit());
    return sites;
  }

 private:
  Result<uint64_t> number(const std::string& sql) {
    REJOIN_ASSIGN(Statement s, prepare(ctx_.db, sql));
    REJOIN_TRY(s.step("counting"));
    return static_cast<uint64_t>(s.integer(0));
  }
  Status run(const std::string& sql, const std::string& device) {
    REJOIN_ASSIGN(Statement * s, ctx_.statement(sql));
    Use use(*s);
    s->bind_text(1, device);
    return s->run("forgetting a device");
  }

  Context& ctx_;
};

}  // namespace

std::unique_ptr<sync::TenantAdmin> make_tenant_admin(Replica& replica) {
  return std::make_unique<SqliteTenantAdmin>(replica);
}

}  // namespace rejoin::sqlite
