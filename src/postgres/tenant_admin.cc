#include <algorithm>

#include "postgres/store.h"

namespace rejoin::postgres {
namespace {

class PostgresTenantAdmin final : public sync::TenantAdmin {
 public:
  PostgresTenantAdmin(Connection& db, Tenant& tenant) : db_(db), tenant_(tenant) {}

  Result<sync::TenantInfo> info() override {
    REJOIN_ASSIGN(Work work, look());
    REJOIN_ASSIGN(
        Rows rows,
        db_.query("SELECT (SELECT count(*) FROM rejoin.device WHERE tenant = $1::integer), (SELECT coalesce("
                  "max(last_seen), 0) FROM rejoin.device WHERE tenant = $1::integer), r.alive, r.dead, r.bytes, "
                  "l.positions, l.bytes FROM (SELECT count(*) FILTER (WHERE get_byte(rec, 0) & 1 = 1) AS alive, "
                  "count(*) FILTER (WHERE get_byte(rec, 0) & 1 = 0) AS dead, coalesce(sum(length(k) + length(rec) + "
                  "coalesce(length(held), 0)), 0)::int8 AS bytes FROM rejoin.record WHERE tenant = $1::integer) AS r, "
                  "(SELECT count(*) AS positions, coalesce(sum(length(entries)), 0)::int8 AS bytes FROM rejoin.log "
                  "WHERE tenant = $1::integer) AS l",
                  Params().integer(work.state.id)));
    REJOIN_TRY(work.commit());
    sync::TenantInfo out;
    auto number = [&](int column) { return static_cast<uint64_t>(rows.integer(0, column)); };
    out.devices = number(0);
    out.last_seen_ms = rows.integer(0, 1);
    out.rows = number(2);
    out.deleted = number(3);
    out.log_rows = number(5);
    out.bytes = number(4) + number(6);
    return out;
  }

  Result<std::vector<sync::DeviceInfo>> devices() override {
    REJOIN_ASSIGN(Work work, look());
    REJOIN_ASSIGN(Rows rows, db_.query("SELECT d.device, d.site, d.last_seen, d.acknowledged, (SELECT "
                                       "coalesce(sum(length(s.frame)), 0)::int8 FROM rejoin.staged s WHERE s.tenant = "
                                       "$1::integer AND s.source = d.site) FROM rejoin.device d WHERE d.tenant = "
                                       "$1::integer ORDER BY d.device COLLATE \"C\", d.last_seen DESC, d.site",
                                       Params().integer(work.state.id)));
    std::vector<sync::DeviceInfo> out;
    for (size_t i = 0; i < rows.size(); ++i) {
      sync::DeviceInfo device;
      device.device = rows.text(i, 0);
      if (rows.bytes(i, 1).size() == 16) device.site = crdt::SiteId::from(rows.bytes(i, 1));
      device.last_seen_ms = rows.integer(i, 2);
      device.pending = static_cast<uint64_t>(std::max<int64_t>(0, work.state.tail - rows.integer(i, 3)));
      device.staged_bytes = static_cast<uint64_t>(rows.integer(i, 4));
      out.push_back(std::move(device));
    }
    REJOIN_TRY(work.commit());
    return out;
  }

  Result<uint64_t> forget(const std::string& device) override {
    {
      REJOIN_ASSIGN(Work there, look());  // a tenant is not made for it
      REJOIN_TRY(there.commit());
    }
    REJOIN_ASSIGN(Work work, Work::begin(db_, tenant_, Work::Mode::merge));
    for (const char* of : {"staged", "stream"})
      db_.send(std::string("DELETE FROM rejoin.") + of +
                   " WHERE tenant = rejoin.tenant_id() AND source IN (SELECT site FROM rejoin.device WHERE tenant = "
                   "rejoin.tenant_id() AND device = $1)",
               Params().text(device));
    REJOIN_ASSIGN(Rows gone, db_.query("DELETE FROM rejoin.device WHERE tenant = rejoin.tenant_id() AND device = $1",
                                       Params().text(device)));
    if (gone.affected() == 0)
      return fail(Code::not_found, "tenant " + tenant_.name + " has no device \"" + device + "\"");
    REJOIN_TRY(work.commit());
    return gone.affected();
  }

 private:
  Result<Work> look() {
    REJOIN_ASSIGN(Work work, Work::begin(db_, tenant_, Work::Mode::look));
    if (work.state.id == 0) return fail(Code::not_found, "there is no tenant " + tenant_.name);
    return work;
  }
  Connection& db_;
  Tenant& tenant_;
};

}  // namespace

std::unique_ptr<sync::TenantAdmin> make_tenant_admin(Connection& db, Tenant& tenant) {
  return std::make_unique<PostgresTenantAdmin>(db, tenant);
}

Result<std::vector<std::string>> tenant_names(Connection& db) {
  db.send("BEGIN READ ONLY");
  db.send("SELECT set_config('rejoin.all_tenants', 'on', true)");
  db.send("SELECT name FROM rejoin.tenant ORDER BY name COLLATE \"C\"");
  db.send("COMMIT");
  REJOIN_ASSIGN(std::vector<Rows> all, db.sync());
  std::vector<std::string> out;
  for (size_t i = 0; i < all[2].size(); ++i) out.push_back(all[2].text(i, 0));
  return out;
}

}  // namespace rejoin::postgres
