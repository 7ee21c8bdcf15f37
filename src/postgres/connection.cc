#include "postgres/connection.h"

#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <thread>

#include "postgres/refusal.h"

namespace rejoin::postgres {
namespace {

constexpr int kBinary = 1;
// Statements differ by table and by the columns that a batch writes; each costs memory at the server.
constexpr size_t kMostPrepared = 1'000;
// PostgreSQL takes no notice of a cancel that comes before the statement does: it is repeated, ever more seldom.
constexpr int kCancelAgainMs = 50;
constexpr std::chrono::seconds kGiveUp{3};
constexpr std::chrono::seconds kSettle{1};
constexpr const char* kUnanswered =
    "PostgreSQL has not answered a COMMIT in time, so that it is not known whether it is kept; a synchronous standby "
    "that is away is one reason (pg_stat_replication tells). Try again";

constexpr const char* kNotCancelled =
    "PostgreSQL has neither answered in time nor ended what it was told to; its host may be gone. Try again";

// Adds the time of its life.
class Stopwatch {
 public:
  explicit Stopwatch(std::chrono::steady_clock::duration& total) : total_(total) {}
  ~Stopwatch() { total_ += std::chrono::steady_clock::now() - start_; }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  std::chrono::steady_clock::duration& total_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

std::string field(const PGresult* result, int code) {
  const char* text = PQresultErrorField(result, code);
  return text ? text : "";
}

// The warning of a COMMIT that has stopped to wait for a synchronous standby: an administrator, or a shutdown, wanted
// it. Its words are in the server's language, and its SQLSTATE is that of most warnings.
bool gives_up_a_standby(const PGresult* notice) {
  return field(notice, PG_DIAG_SOURCE_FUNCTION) == "SyncRepWaitForLSN";
}

}  // namespace

Rows::~Rows() {
  if (result_) PQclear(result_);
}
size_t Rows::size() const { return result_ ? static_cast<size_t>(PQntuples(result_)) : 0; }
bool Rows::is_null(size_t row, int column) const { return PQgetisnull(result_, static_cast<int>(row), column); }
BytesView Rows::bytes(size_t row, int column) const {
  return BytesView(PQgetvalue(result_, static_cast<int>(row), column),
                   static_cast<size_t>(PQgetlength(result_, static_cast<int>(row), column)));
}
int64_t Rows::integer(size_t row, int column) const {
  BytesView b = bytes(row, column);
  if (b.empty()) return 0;
  int64_t v = static_cast<signed char>(b[0]);  // the sign comes from the first byte
  for (char c : b.substr(1)) v = static_cast<int64_t>(static_cast<uint64_t>(v) << 8 | static_cast<uint8_t>(c));
  return v;
}
uint64_t Rows::affected() const {
  const char* text = result_ ? PQcmdTuples(result_) : "";
  return *text ? std::stoull(text) : 0;
}

std::string_view Rows::command() const { return result_ ? PQcmdStatus(result_) : ""; }

// https://www.postgresql.org/docs/current/errcodes-appendix.html
Code code_of_state(std::string_view state) {
  auto is = [&](std::string_view prefix) { return state.starts_with(prefix); };
  if (is("08") || is("57P")) return Code::network;
  if (state == "57014") return Code::interrupted;
  if (is("40") || state == "55P03" || state == "55006") return Code::busy;
  if (state == "53100") return Code::disk;
  if (is("53")) return Code::overloaded;
  if (state == "25006") return Code::read_only;
  if (state == "42501") return Code::forbidden;
  if (is("28") || state == "3D000") return Code::unauthorized;
  if (state == "3F000" || state == "42P01" || state == "42703") return Code::not_found;
  if (is("58") || is("XX")) return Code::disk;
  return Code::internal;
}

Result<std::unique_ptr<Connection>> Connection::open(const std::string& url) {
  char* why = nullptr;
  if (PQconninfoOption* parsed = PQconninfoParse(url.c_str(), &why)) {
    PQconninfoFree(parsed);
  } else {
    std::string reason = one_line(why ? why : "");
    PQfreemem(why);
    return fail(Code::bad_argument, "this is no PostgreSQL address: " + reason +
                                        "; write postgres://USER@HOST:PORT/DATABASE, as psql takes it");
  }
  // The address may say otherwise of what stands before it. A host that is gone without a word is noticed in a minute:
  // by keepalives where an answer is waited for, which may take for ever, and by the other where something was sent
  // that its host never received, for then there are no keepalives.
  const char* keys[] = {"keepalives_idle",
                        "keepalives_interval",
                        "keepalives_count",
                        "tcp_user_timeout",
                        "dbname",
                        "application_name",
                        "connect_timeout",
                        "client_encoding",
                        nullptr};
  const char* values[] = {"30", "10", "3", "60000", url.c_str(), "rejoin", "10", "UTF8", nullptr};
  std::unique_ptr<Connection> out(new Connection(PQconnectdbParams(keys, values, 1)));
  if (PQstatus(out->db_) != CONNECTION_OK) {
    Refusal refusal = read_refusal(PQerrorMessage(out->db_));
    if (PQconnectionNeedsPassword(out->db_)) {
      refusal.code = Code::unauthorized;
    } else if (refusal.by_server) {
      // Which one it is tells the SQLSTATE, whatever language the server speaks; a refused connection names it only
      // when its errors are verbose, and that can be said only before another attempt.
      PQsetErrorVerbosity(out->db_, PQERRORS_VERBOSE);
      PQreset(out->db_);
      PQsetErrorVerbosity(out->db_, PQERRORS_DEFAULT);
      refusal = read_refusal(PQerrorMessage(out->db_));
    }
    if (PQstatus(out->db_) != CONNECTION_OK)
      return fail(refusal.code, "cannot connect to PostgreSQL: " + refusal.reason + "; check the address with psql");
  }
  if (PQserverVersion(out->db_) < 130000)
    return fail(Code::unsupported, "PostgreSQL " + std::to_string(PQserverVersion(out->db_) / 10000) +
                                       " is too old; Rejoin needs 13 or newer");
  PQsetNoticeReceiver(
      out->db_,
      [](void* unreplicated, const PGresult* notice) {
        if (gives_up_a_standby(notice)) *static_cast<bool*>(unreplicated) = true;
      },
      &out->unreplicated_);
  if (PQsetnonblocking(out->db_, 1) != 0 || PQenterPipelineMode(out->db_) != 1)
    return fail(Code::internal, "libpq does not enter pipeline mode");
  return out;
}

Connection::~Connection() { PQfinish(db_); }
bool Connection::usable() const { return PQstatus(db_) == CONNECTION_OK && queued() == 0 && !lost_ && !in_doubt_; }
bool Connection::answered() {
  if (!PQconsumeInput(db_)) return true;
  while (PQstatus(db_) == CONNECTION_OK && !PQisBusy(db_)) {
    PGresult* result = PQgetResult(db_);
    const bool last = result ? PQresultStatus(result) == PGRES_PIPELINE_SYNC
                             : PQpipelineStatus(db_) == PQ_PIPELINE_OFF;  // a script's
    PQclear(result);
    if (last) return true;
  }
  return PQstatus(db_) != CONNECTION_OK;
}
bool Connection::alive() {
  pollfd fd{PQsocket(db_), POLLIN, 0};
  // Something to read although nothing was asked: a farewell, or a notice.
  if (::poll(&fd, 1, 0) != 0 && !PQconsumeInput(db_)) return false;
  return PQstatus(db_) == CONNECTION_OK && ::poll(&fd, 1, 0) == 0;
}
bool Connection::in_transaction() const { return PQtransactionStatus(db_) != PQTRANS_IDLE; }
int Connection::socket() const { return PQsocket(db_); }

Result<std::vector<std::string>> Connection::notifications(const std::string& channel) {
  std::vector<std::string> out;
  if (!PQconsumeInput(db_)) return broken("listening");
  while (PGnotify* one = PQnotifies(db_)) {
    if (channel == one->relname) out.emplace_back(one->extra);
    PQfreemem(one);
  }
  if (PQstatus(db_) != CONNECTION_OK) return broken("listening");
  return out;
}

int Connection::server_version() const { return PQserverVersion(db_); }

Error Connection::broken(const std::string& doing) {
  error_ = {};
  error_.message = one_line(PQerrorMessage(db_));
  queue_.clear();
  under_way_.clear();
  prepared_.clear();
  return fail(Code::network,
              "the connection to PostgreSQL broke while " + doing + ": " + error_.message + "; try again");
}

Error Connection::error_of(const PGresult* result) {
  error_.state = field(result, PG_DIAG_SQLSTATE);
  error_.message = field(result, PG_DIAG_MESSAGE_PRIMARY);
  error_.detail = field(result, PG_DIAG_MESSAGE_DETAIL);
  error_.relation = field(result, PG_DIAG_SCHEMA_NAME) + std::string(".") + field(result, PG_DIAG_TABLE_NAME);
  return fail(code_of_state(error_.state), "PostgreSQL: " + error_.message +
                                               (error_.detail.empty() ? "" : " (" + error_.detail + ")") + " [" +
                                               error_.state + "]");
}

void Connection::send(std::string sql, Params params) { queue_.push_back({std::move(sql), std::move(params)}); }
void Connection::send_commit() { queue_.push_back({"COMMIT", {}, true}); }

void Connection::cancel() {
  if (cancel_.valid() && cancel_.wait_for(std::chrono::seconds(0)) != std::future_status::ready) return;
  PGcancel* handle = PQgetCancel(db_);
  if (!handle) return;
  std::promise<void> done;
  cancel_ = done.get_future();
  try {
    std::thread([handle, done = std::move(done)]() mutable {
      char why[256];
      PQcancel(handle, why, sizeof why);
      PQfreeCancel(handle);
      done.set_value();
    }).detach();
  } catch (const std::system_error&) {  // no more threads: the next attempt, or the end of the wait
    PQfreeCancel(handle);
    cancel_ = {};
  }
}

void Connection::settle_cancel() {
  if (cancel_.valid() && cancel_.wait_for(kSettle) != std::future_status::ready) lost_ = true;
  cancel_ = {};
}

Status Connection::wait(bool commits) {
  int again_ms = kCancelAgainMs;
  for (;;) {
    const int left = PQflush(db_);
    if (left < 0) return broken("waiting for an answer");
    if (left == 0 && !PQisBusy(db_)) return {};  // read already
    if (!PQconsumeInput(db_)) return broken("waiting for an answer");
    if (left == 0 && !PQisBusy(db_)) return {};
    int timeout = -1;
    if (cancelling_since_) {
      timeout = std::exchange(again_ms, again_ms * 2);
    } else if (deadline_) {
      auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(*deadline_ - std::chrono::steady_clock::now());
      timeout = static_cast<int>(std::clamp<int64_t>(ms.count(), 0, 1 << 30));
    }
    pollfd fd{PQsocket(db_), static_cast<short>(POLLIN | (left > 0 ? POLLOUT : 0)), 0};
    const int ready = ::poll(&fd, 1, timeout);
    if (ready < 0 && errno != EINTR) return broken("waiting for an answer");
    if (ready == 0 && commits) {
      // What was not sent whole is for nobody to wait for: PostgreSQL ends it when the connection does.
      (left == 0 ? in_doubt_ : lost_) = true;
      return late(kUnanswered);
    }
    if (ready != 0) continue;
    const auto now = std::chrono::steady_clock::now();
    if (!cancelling_since_) cancelling_since_ = now;
    if (now - *cancelling_since_ >= kGiveUp) {
      (left == 0 ? in_doubt_ : lost_) = true;
      return late(kNotCancelled);
    }
    cancel();
  }
}

Error Connection::late(const std::string& what) {
  error_ = {};
  queue_.clear();
  return fail(Code::timeout, what);
}

Status Connection::tidy_prepared() {
  if (prepared_.size() <= kMostPrepared || !under_way_.empty()) return {};
  prepared_.clear();
  std::vector<Queued> queue = std::exchange(queue_, {});
  const bool prepare = std::exchange(prepare_, false);
  send("DEALLOCATE ALL");
  auto done = sync();
  prepare_ = prepare;
  queue_ = std::move(queue);
  return done.ok() ? Status() : done.error();
}

bool Connection::dispatch() {
  for (const Queued& q : std::exchange(queue_, {})) {
    const auto values = q.params.values();
    const auto lengths = q.params.lengths();
    const std::vector<int> formats(q.params.size(), kBinary);
    const int n = static_cast<int>(q.params.size());
    under_way_.emplace_back();
    int sent;
    if (prepare_) {
      auto [it, made] = prepared_.try_emplace(q.sql);
      if (made) {
        it->second = "rejoin_" + std::to_string(next_name_++);
        under_way_.back().prepared = q.sql;
        if (!PQsendPrepare(db_, it->second.c_str(), q.sql.c_str(), n, q.params.oids())) return false;
      }
      sent = PQsendQueryPrepared(db_, it->second.c_str(), n, values.data(), lengths.data(), formats.data(), kBinary);
    } else {
      sent = PQsendQueryParams(db_, q.sql.c_str(), n, q.params.oids(), values.data(), lengths.data(), formats.data(),
                               kBinary);
    }
    if (!sent) return false;
  }
  return true;
}

void Connection::start() {
  // Whatever fails here is told by sync().
  if (PQstatus(db_) != CONNECTION_OK || in_doubt_ || !tidy_prepared().ok()) return;
  lost_ |= !dispatch();
  if (!lost_) PQflush(db_);
}

Result<std::vector<Rows>> Connection::sync() {
  if (in_doubt_) return late(kUnanswered);
  const bool commits = std::any_of(queue_.begin(), queue_.end(), [](const Queued& q) { return q.commits; });
  if (commits && deadline_ && std::chrono::steady_clock::now() >= *deadline_)
    return late("the time was over before what was written could be committed, so that nothing was kept; try again");
  REJOIN_TRY(tidy_prepared());
  const Stopwatch watch(waited_);
  unreplicated_ = false;
  cancelling_since_.reset();
  if (lost_ || PQstatus(db_) != CONNECTION_OK || !dispatch() || !PQpipelineSync(db_)) return broken("sending");
  ++round_trips_;
  const std::vector<UnderWay> sent = std::exchange(under_way_, {});
  std::vector<Rows> out;
  std::optional<Error> failure;
  const auto prepares = [&](size_t i) { return i < sent.size() && !sent[i].prepared.empty(); };
  bool preparing = prepares(0);
  for (;;) {
    REJOIN_TRY(wait(commits));
    PGresult* result = PQgetResult(db_);
    if (!result) continue;  // the end of one statement
    const ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_PIPELINE_SYNC) {
      PQclear(result);
      break;
    }
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) {
      if (preparing) {
        PQclear(result);
        preparing = false;
        continue;
      }
      out.emplace_back(result);
      preparing = prepares(out.size());
      continue;
    }
    if (status == PGRES_FATAL_ERROR && !failure) {
      failure = error_of(result);
      // What was prepared before stays so, what comes behind never was.
      for (size_t i = out.size() + (preparing ? 0 : 1); i < sent.size(); ++i) prepared_.erase(sent[i].prepared);
    }
    PQclear(result);
    if (PQstatus(db_) != CONNECTION_OK) return broken("running a statement");
  }
  settle_cancel();
  if (failure) {
    if (failure->code == Code::interrupted && deadline_ && std::chrono::steady_clock::now() >= *deadline_)
      failure->code = Code::timeout;
    return *failure;
  }
  if (unreplicated_) {
    error_ = {};
    return fail(Code::interrupted,
                "PostgreSQL has committed without a synchronous standby, as its wait for one was cancelled: what was "
                "written may be lost at a failover, and counts as not acknowledged; try again");
  }
  return out;
}

Result<Rows> Connection::query(const std::string& sql, const Params& params) {
  send(sql, params);
  REJOIN_ASSIGN(std::vector<Rows> all, sync());
  return std::move(all.back());
}

Status Connection::script(const std::string& sql) {
  if (in_doubt_) return late(kUnanswered);
  if (lost_ || !PQexitPipelineMode(db_)) return broken("leaving pipeline mode");
  const Stopwatch watch(waited_);
  Status outcome = run_simple(sql);
  if (in_doubt_ || lost_) return outcome;
  if (!outcome.ok() && PQtransactionStatus(db_) != PQTRANS_IDLE) (void)run_simple("ROLLBACK").ok();
  if (in_doubt_ || lost_) return outcome;
  if (!PQenterPipelineMode(db_)) return broken("entering pipeline mode");
  return outcome;
}

Status Connection::run_simple(const std::string& sql) {
  cancelling_since_.reset();
  if (!PQsendQuery(db_, sql.c_str())) return broken("sending");
  const bool commits = sql.ends_with("COMMIT;");
  std::optional<Error> failure;
  for (;;) {
    REJOIN_TRY(wait(commits));
    PGresult* result = PQgetResult(db_);
    if (!result) break;
    const ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && !failure) failure = error_of(result);
    PQclear(result);
    if (PQstatus(db_) != CONNECTION_OK) return broken("running a statement");
  }
  settle_cancel();
  if (!failure) return {};
  if (failure->code == Code::interrupted && deadline_ && std::chrono::steady_clock::now() >= *deadline_)
    failure->code = Code::timeout;
  return *failure;
}

}  // namespace rejoin::postgres
