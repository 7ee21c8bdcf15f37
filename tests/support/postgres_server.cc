#include "tests/support/postgres_server.h"

#include <gtest/gtest.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <thread>

namespace rejoin::testing {
namespace {

std::string find_binaries() {
  if (const char* given = std::getenv("REJOIN_POSTGRES_BIN")) return given;
  std::string best;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/usr/lib/postgresql", ignored))
    if (std::filesystem::exists(entry.path() / "bin/initdb")) best = std::max(best, (entry.path() / "bin").string());
  return best;
}

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "no PostgreSQL for the tests: %s. Run scripts/setup, or set REJOIN_POSTGRES_BIN\n", why.c_str());
  std::abort();
}

// Runs a program as an ordinary user, its output in a file. The child dies with this process.
int spawn(const std::vector<std::string>& arguments, const passwd* user, const std::string& log) {
  const int pid = fork();
  if (pid != 0) return pid;
  prctl(PR_SET_PDEATHSIG, SIGQUIT);
  setsid();
  if (user && (setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0)) _exit(126);
  if (user) prctl(PR_SET_PDEATHSIG, SIGQUIT);  // changing the user clears it
  if (!freopen("/dev/null", "r", stdin) || !freopen(log.c_str(), "a", stdout) || dup2(1, 2) < 0) _exit(126);
  std::vector<char*> argv;
  for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  execv(argv[0], argv.data());
  _exit(127);
}

}  // namespace

PostgresServer& PostgresServer::shared() {
  static PostgresServer server;
  return server;
}

PostgresServer::PostgresServer() {
  const std::string bin = find_binaries();
  if (bin.empty()) give_up("no initdb below /usr/lib/postgresql");
  const passwd* user = nullptr;
  if (geteuid() == 0) {
    user = getpwnam("postgres");
    if (!user) user = getpwnam("nobody");
    if (!user) give_up("root may not run it, and there is neither a user postgres nor nobody");
  }
  char name[] = "/tmp/rejoin-pg-XXXXXX";
  if (!mkdtemp(name)) give_up("no folder in /tmp");
  folder_ = name;
  if (user && chown(name, user->pw_uid, user->pw_gid) != 0) give_up("chown");
  const std::string data = folder_ + "/data", log = folder_ + "/log";
  int status = 0;
  const int init =
      spawn({bin + "/initdb", "-D", data, "-U", "tester", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"},
            user, log);
  if (waitpid(init, &status, 0) != init || status != 0) give_up("initdb failed, see " + log);
  pid_ = spawn({bin + "/postgres", "-D", data, "-k", folder_, "-c", "listen_addresses=", "-c", "fsync=off", "-c",
                "max_connections=50", "-c", "shared_buffers=64MB", "-c", "log_min_messages=fatal"},
               user, log);
  for (int i = 0;; ++i) {
    if (postgres::Connection::open(url("postgres")).ok()) return;
    if (i > 300 || waitpid(pid_, &status, WNOHANG) == pid_) give_up("it does not start, see " + log);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

PostgresServer::~PostgresServer() {
  kill(pid_, SIGINT);
  waitpid(pid_, nullptr, 0);
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

std::string PostgresServer::url(const std::string& database) const {
  return "postgres:///" + database + "?host=" + folder_ + "&user=tester";
}

std::string PostgresServer::fresh_database() {
  const std::string name = "test" + std::to_string(++databases_);
  SqlClient(url("postgres")).run("CREATE DATABASE " + name);
  return url(name);
}

SqlClient::SqlClient(const std::string& url) {
  auto db = postgres::Connection::open(url);
  if (!db.ok()) {
    ADD_FAILURE() << db.error().message;
    std::abort();
  }
  db_ = std::move(*db);
}

void SqlClient::run(const std::string& sql) {
  Status done = db_->script(sql);
  EXPECT_TRUE(done.ok()) << sql << ": " << (done.ok() ? "" : done.error().message);
}

std::string SqlClient::attempt(const std::string& sql) { return db_->script(sql).ok() ? "" : db_->last_error().state; }

std::string SqlClient::rows(const std::string& sql) {
  auto rows = db_->query(
      "SELECT array_to_string(ARRAY(SELECT coalesce(v.value, 'null') FROM jsonb_each_text(to_jsonb(q)) "
      "AS v ORDER BY array_position(ARRAY(SELECT json_object_keys(row_to_json(q))), v.key)), '|') FROM (" +
      sql + ") AS q");
  if (!rows.ok()) {
    ADD_FAILURE() << sql << ": " << rows.error().message;
    return "";
  }
  std::string out;
  for (size_t i = 0; i < rows->size(); ++i) out += rows->text(i, 0) + "\n";
  return out;
}

int64_t SqlClient::number(const std::string& sql) {
  auto rows = db_->query("SELECT (" + sql + ")::int8");
  if (!rows.ok() || rows->empty()) {
    ADD_FAILURE() << sql << ": " << (rows.ok() ? "no row" : rows.error().message);
    return -1;
  }
  return rows->integer(0, 0);
}

}  // namespace rejoin::testing
