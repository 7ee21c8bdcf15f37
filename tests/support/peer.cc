#include "tests/support/peer.h"

#include "sqlite/api.h"
#include "tests/support/model_run.h"

namespace rejoin::testing {
namespace {

int next_slot() {
  // Slots only carry clocks, and a clock belongs to the newest database of its slot: sixteen live peers at a time.
  static int slot = 0;
  return slot++ % 16;
}

uint64_t next_seed() {
  static uint64_t seed = 0;
  return ++seed;
}

}  // namespace

Peer::Peer(const std::string& schema, const std::vector<std::string>& tracked, const std::string& file)
    : db_(next_slot(), file.empty() ? "" : scratch_folder() + "/" + file, next_seed()) {
  clock().set(1'700'000'000'000);
  if (!schema.empty()) run(schema);
  for (const std::string& table : tracked) track(table);
}

void Peer::run_on(int connection, const std::string& sql, const std::vector<sim::Value>& values) {
  if (!values.empty()) {
    int rc = db_.run(connection, sql, values);
    ASSERT_EQ(rc, SQLITE_OK) << sql << ": " << db_.last_error(connection);
    return;
  }
  ASSERT_EQ(attempt(sql, connection), SQLITE_OK) << sql << ": " << db_.last_error(connection);
}

int Peer::attempt(const std::string& sql, int connection) {
  return sqlite3_exec(db_.connection(connection), sql.c_str(), nullptr, nullptr, nullptr) & 0xff;
}

std::string Peer::rows(const std::string& sql, int connection) {
  std::vector<std::vector<sim::Value>> found;
  if (!db_.query(connection, sql, found)) return "error: " + db_.last_error(connection);
  std::string out;
  for (const auto& row : found) {
    for (size_t i = 0; i < row.size(); ++i) out += (i ? "|" : "") + show(row[i]);
    out += "\n";
  }
  return out;
}

int64_t Peer::number(const std::string& sql, int connection) {
  std::vector<std::vector<sim::Value>> found;
  if (!db_.query(connection, sql, found) || found.size() != 1 || found[0].size() != 1) {
    ADD_FAILURE() << sql << ": " << db_.last_error(connection);
    return -1;
  }
  return found[0][0].integer;
}

void Peer::track(const std::string& table, const sqlite::TrackOptions& options) {
  std::string message;
  ASSERT_EQ(track_code(table, options, &message), Code::ok) << message;
}

Code Peer::track_code(const std::string& table, const sqlite::TrackOptions& options, std::string* message) {
  Status status = rejoin().track(table, options);
  if (status) return Code::ok;
  if (message) *message = status.error().message;
  return status.error().code;
}

bool Peer::restore(const std::string& table, const sim::Key& key) {
  std::vector<crdt::ValueRef> refs;
  for (const sim::Value& v : key) refs.push_back(v.ref());
  auto result = rejoin().restore(table, refs);
  EXPECT_TRUE(result.ok()) << result.error().message;
  return result.ok() && *result;
}

int64_t Peer::seq() {
  auto result = rejoin().seq();
  EXPECT_TRUE(result.ok()) << result.error().message;
  return result.ok() ? *result : -1;
}

std::string Peer::site() {
  auto result = rejoin().site();
  EXPECT_TRUE(result.ok()) << result.error().message;
  return result.ok() ? std::string(result->view()) : "";
}

Bytes Peer::changeset(int64_t since, int connection) {
  auto result = rejoin(connection).changeset(since);
  EXPECT_TRUE(result.ok()) << result.error().message;
  return result.ok() && *result ? **result : Bytes();
}

sync::ApplyOutcome Peer::apply(const Bytes& frame, int connection) {
  auto result = rejoin(connection).apply(frame);
  EXPECT_TRUE(result.ok()) << result.error().message;
  return result.ok() ? *result : sync::ApplyOutcome();
}

Code Peer::apply_code(const Bytes& frame, int connection) {
  auto result = rejoin(connection).apply(frame);
  return result.ok() ? Code::ok : result.error().code;
}

uint64_t Peer::fetch(Peer& from) {
  Bytes frame = from.changeset(fetched_[&from]);
  int64_t through = from.seq();
  if (frame.empty()) return 0;
  uint64_t changed = apply(frame).rows_changed;
  fetched_[&from] = through;
  return changed;
}

std::string Peer::dump() {
  std::string out;
  std::vector<std::vector<sim::Value>> tables;
  db_.query(0, "SELECT name FROM sqlite_schema WHERE type='table' ORDER BY name", tables);
  for (const auto& row : tables)
    out += row[0].bytes + ":\n" + rows("SELECT * FROM " + sim::quoted(row[0].bytes) + " ORDER BY 1, 2");
  return out;
}

void Peer::expect_sound(bool parked_rows) {
  EXPECT_EQ(rows("PRAGMA integrity_check"), "'ok'\n");
  auto findings = rejoin().doctor();
  ASSERT_TRUE(findings.ok()) << findings.error().message;
  EXPECT_EQ(*findings, "[]");
  if (parked_rows) return;
  EXPECT_EQ(rows("SELECT table_name, key, reason FROM rejoin_parked"), "");
}

std::string show(const sim::Value& value) {
  if (value.type != crdt::ValueType::text) return print(value);
  std::string out = "'";
  for (char c : value.bytes)
    if (static_cast<unsigned char>(c) < 0x20)
      out += "%" + to_hex(BytesView(&c, 1));
    else
      out += c;
  return out + "'";
}

void exchange(Peer& a, Peer& b) {
  b.fetch(a);
  a.fetch(b);
  b.fetch(a);
}

}  // namespace rejoin::testing
