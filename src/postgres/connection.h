// A connection to PostgreSQL in pipeline mode: statements are queued and sent together, one round trip for all.
#pragma once

#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "postgres/wire.h"

struct pg_conn;
struct pg_result;

namespace rejoin::postgres {

// The rows of one statement, in binary format.
class Rows {
 public:
  Rows() = default;
  explicit Rows(pg_result* result) : result_(result) {}
  Rows(Rows&& o) noexcept : result_(std::exchange(o.result_, nullptr)) {}
  Rows& operator=(Rows&& o) noexcept {
    std::swap(result_, o.result_);
    return *this;
  }
  ~Rows();
  size_t size() const;
  bool empty() const { return size() == 0; }
  bool is_null(size_t row, int column) const;
  BytesView bytes(size_t row, int column) const;  // of text and bytea
  std::string text(size_t row, int column) const { return std::string(bytes(row, column)); }
  int64_t integer(size_t row, int column) const;  // of smallint, integer, bigint, boolean
  uint64_t affected() const;
  std::string_view command() const;  // "COMMIT", "ROLLBACK", "INSERT 0 1", …

 private:
  pg_result* result_ = nullptr;
};

// What PostgreSQL said about a failed statement.
struct SqlError {
  std::string state;  // SQLSTATE; empty: the connection broke
  std::string message, detail;
  std::string relation;  // schema.table that it is about
};

class Connection {
 public:
  // `url` as libpq takes it (postgres://… or key=value). Errors: bad_argument (malformed), network, unauthorized.
  static Result<std::unique_ptr<Connection>> open(const std::string& url);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Queues a statement. Statements are prepared on their first use unless set_prepare(false): behind a pooler that
  // gives out another server connection for each transaction.
  void send(std::string sql, Params params = {});
  // Queues the COMMIT of a transaction that has written. It may wait for a synchronous standby, and a wait that is
  // cancelled is a commit without it: what is synced with it is never cancelled; see in_doubt().
  void send_commit();
  // How many statements wait; the next one's result has this place in what sync() gives.
  size_t queued() const { return under_way_.size() + queue_.size(); }
  // Forgets what is queued, as far as it is not under way: the request that wanted it has failed.
  void drop_queue() { queue_.clear(); }
  // Lets PostgreSQL work on what is queued while we do something else. sync() gives the results, and the errors.
  void start();
  // Sends what is queued, waits for all results, in order. After an error the rest of the queue was not executed, and a
  // transaction that was open is a failed one. Errors: timeout (with a COMMIT: it was not sent, or the connection is in
  // doubt), interrupted (what was committed may be on no synchronous standby), and see error_of().
  Result<std::vector<Rows>> sync();
  // One statement, after those that are queued; one round trip.
  Result<Rows> query(const std::string& sql, const Params& params = {});
  // Statements without results and parameters, separated by semicolons, in the simple protocol; nothing may be queued.
  // After an error a transaction that was begun is rolled back.
  Status script(const std::string& sql);

  // After it a sync or script is cancelled on the server, unless it commits, and fails with `timeout`. One that no
  // cancel ends within 3 s is given up: see in_doubt().
  void set_deadline(std::optional<std::chrono::steady_clock::time_point> deadline) { deadline_ = deadline; }
  void set_prepare(bool prepare) { prepare_ = prepare; }
  const SqlError& last_error() const { return error_; }
  // What comes next is not to be taken for an earlier error, of another tenant's request perhaps.
  void forget_error() { error_ = {}; }
  bool usable() const;
  // Was a COMMIT not answered in time, or a statement that no cancel ended? PostgreSQL may go on with it, and hold its
  // locks, whatever becomes of this connection, which is good for nothing else any more.
  bool in_doubt() const { return in_doubt_; }
  // For one that is in doubt: has it been answered, or is the connection broken? Does not wait.
  bool answered();
  // For a connection that was idle: has the server closed it meanwhile?
  bool alive();
  bool in_transaction() const;
  // For poll().
  int socket() const;
  // The payloads that have come to a channel that this connection listens to. Does not wait. Errors: network.
  Result<std::vector<std::string>> notifications(const std::string& channel);
  int server_version() const;  // 150018
  uint64_t round_trips() const { return round_trips_; }
  // How long sync() and script() have waited for PostgreSQL, all together.
  std::chrono::steady_clock::duration waited() const { return waited_; }

 private:
  explicit Connection(pg_conn* db) : db_(db) {}
  Error broken(const std::string& doing);
  Error error_of(const pg_result* result);
  // Forgets what is queued.
  Error late(const std::string& what);
  // Closes all prepared statements when there are too many.
  Status tidy_prepared();
  // Gives what is queued to libpq. False: the connection broke.
  bool dispatch();
  // Flushes and reads until a result can be had without blocking. `commits`: not to be cancelled.
  Status wait(bool commits);
  // What a simple query answers, to its end.
  Status run_simple(const std::string& sql);
  // Asks PostgreSQL to end what is running. Where its host is gone that takes long, so it happens aside, and there is
  // one such attempt at a time.
  void cancel();
  // A cancel that is still on its way may hit what comes next: then nothing comes.
  void settle_cancel();

  struct Queued {
    std::string sql;
    Params params;
    bool commits = false;
  };
  struct UnderWay {
    std::string prepared;  // the text of a statement that is prepared with it: a result of its own comes first
  };
  pg_conn* db_;
  std::vector<Queued> queue_;
  std::vector<UnderWay> under_way_;  // sent, their results not read
  bool lost_ = false;                // start() could not send all: nothing more goes out, a COMMIT least of all
  std::unordered_map<std::string, std::string> prepared_;
  uint64_t next_name_ = 0;
  uint64_t round_trips_ = 0;
  std::chrono::steady_clock::duration waited_{};
  bool prepare_ = true;
  bool in_doubt_ = false;
  bool unreplicated_ = false;  // a wait for a synchronous standby was given up during this sync
  std::optional<std::chrono::steady_clock::time_point> deadline_;
  std::future<void> cancel_;  // the attempt that is on its way, if there is one
  std::optional<std::chrono::steady_clock::time_point> cancelling_since_;  // in this sync or script
  SqlError error_;
};

// The code that a SQLSTATE stands for when the statement was ours and right.
Code code_of_state(std::string_view state);

}  // namespace rejoin::postgres
