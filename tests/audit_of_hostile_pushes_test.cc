// P8, P9: whatever a device calls its tables, columns and keys, its push can be written into the audit log and is
// acknowledged.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "codec/changeset_samples.h"
#include "postgres/audit.h"
#include "server/audit_files.h"
#include "server/audited_store.h"
#include "tests/support/model_run.h"
#include "tests/support/postgres_loopback.h"

namespace rejoin::testing {
namespace {

using codec::samples::Value;

sync::PushRequest hostile_push(Bytes& frame) {
  codec::samples::Sample sample;
  sample.sites.intern(crdt::SiteId::from(Bytes(16, 's')));
  sample.info.source = sample.sites[0];
  for (const std::string& name : {std::string("new\nline \"quoted\" \\ back"), std::string("\xff\xfe not text"),
                                  std::string("emoji \xf0\x9f\x98\x80"), std::string("tab\t")}) {
    codec::samples::Table table;
    table.wire = {name, {"id"}, {name + " column", "\x01"}};
    codec::samples::Row row;
    row.key = codec::samples::key_of({Value::text(name + Bytes("\0", 1) + name)});
    row.record.alive = true;
    row.record.live = row.record.birth = {crdt::hlc_of_ms(system_clock().now_ms()), 0};
    row.columns.add(0), row.columns.add(1);
    row.record.groups.push_back({row.columns, row.record.live});
    row.with_life = true;
    row.values = {Value::text("x"), Value::null()};
    table.rows.push_back(std::move(row));
    sample.tables.push_back(std::move(table));
  }
  frame = sample.frame();
  sync::PushRequest push;
  push.device = "d";
  push.site = sample.sites[0];
  push.nonce = Bytes(16, 'n');
  push.frame = frame;
  push.now_ms = system_clock().now_ms();
  push.drift_ms = 60'000;
  return push;
}

TEST(AuditOfHostilePushes, GoesIntoTheTable) {
  PostgresWorld world("CREATE TABLE todos(id text PRIMARY KEY)", {"public.todos"});
  Bytes frame;
  const sync::PushRequest push = hostile_push(frame);
  postgres::AuditTable table(world.sql.connection());
  server::AuditedStore audited(world.server().store(), "main", table);
  auto reply = audited.push(push);
  ASSERT_TRUE(reply.ok()) << reply.error().message;
  EXPECT_EQ(reply->outcome.refused.size(), 4u);
  EXPECT_EQ(world.sql.number("SELECT count(*) FROM rejoin.audit WHERE event = 'refused' AND tenant = 'main'"), 4);
  EXPECT_EQ(world.sql.rows("SELECT columns->>0 AS c FROM rejoin.audit WHERE tbl LIKE 'new%'"),
            "new\nline \"quoted\" \\ back column\n");
}

TEST(AuditOfHostilePushes, GoesIntoAFile) {
  Peer tenant;
  auto store = sqlite::make_tenant_store(tenant.rejoin());
  const std::string folder = scratch_folder() + "/audit";
  server::AuditSettings settings;
  server::AuditFiles files(folder, settings, system_clock());
  tenant.clock().set(system_clock().now_ms());
  Bytes frame;
  const sync::PushRequest push = hostile_push(frame);
  server::AuditedStore audited(*store, "main", files);
  auto reply = audited.push(push);
  ASSERT_TRUE(reply.ok()) << reply.error().message;
  int lines = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream in(entry.path());
    for (std::string line; std::getline(in, line); ++lines) EXPECT_EQ(line.back(), '}') << line;
  }
  EXPECT_EQ(lines, 4);
}

// A log that cannot be written refuses the acknowledgement, and the device's repetition is written.
TEST(AuditOfHostilePushes, NothingIsAcknowledgedUnwritten) {
  class Full final : public sync::AuditSink {
   public:
    Status write(const std::string&, const std::vector<sync::AuditEntry>& entries) override {
      if (full) return fail(Code::disk, "full");
      written += entries.size();
      return {};
    }
    bool full = true;
    size_t written = 0;
  } sink;
  Peer tenant;
  tenant.clock().set(system_clock().now_ms());
  auto store = sqlite::make_tenant_store(tenant.rejoin());
  Bytes frame;
  const sync::PushRequest push = hostile_push(frame);
  server::AuditedStore audited(*store, "main", sink);
  auto reply = audited.push(push);
  ASSERT_FALSE(reply.ok());
  EXPECT_EQ(reply.error().code, Code::disk);
  sink.full = false;
  reply = audited.push(push);
  ASSERT_TRUE(reply.ok()) << reply.error().message;
  EXPECT_TRUE(reply->repeated);
  EXPECT_EQ(sink.written, 4u);
}

}  // namespace
}  // namespace rejoin::testing
