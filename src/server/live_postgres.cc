// What tells of changes behind PostgreSQL. Other nodes: LISTEN and NOTIFY, sent for merges and folds, never by the
// capture triggers, whose transactions are the application's. Plain SQL: a look into the outbox now and then. Where
// notifications don't come through (a pooler in transaction mode), and in case that one is lost: a look at the logs.
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "postgres/connection.h"
#include "server/base64.h"
#include "server/live_feed.h"
#include "server/tenant_files.h"

namespace rejoin::server {
namespace {

using SteadyClock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr const char* kListen = "LISTEN rejoin";
constexpr const char* kWhich = "SELECT pg_backend_pid()";
// A notification to oneself shows whether they come through.
constexpr milliseconds kProof{30'000};
constexpr milliseconds kPatience{2'000};
constexpr milliseconds kQueryTime{10'000};
constexpr milliseconds kFirstRetry{250}, kLongestRetry{10'000};
// Looks into the outboxes of all databases take no more than this part of the feed's time.
constexpr int kLooksPart = 10;
// What is captured for so long waits for something else, and is told of as often, then less and less.
constexpr milliseconds kStuck{1'000}, kLongestPause{10'000};
// When notifications do come through, the look at the logs is only for those that were lost.
constexpr int kSeldom = 6;
// Of the connections for a database per tenant, those that nobody needed for so long are closed.
constexpr milliseconds kIdle{60'000};
constexpr size_t kMostWaiting = 1024;  // messages to other nodes; they are worth nothing later

// "WORD NODE REST"
struct Payload {
  std::string_view word, node, rest;
};
Payload parse(std::string_view text) {
  Payload out;
  for (std::string_view* part : {&out.word, &out.node}) {
    const size_t space = text.find(' ');
    if (space == std::string_view::npos) return {};
    *part = text.substr(0, space);
    text.remove_prefix(space + 1);
  }
  out.rest = text;
  return out;
}

class PostgresFeed final : public LiveFeed {
 public:
  PostgresFeed(const PostgresSettings& postgres, const LiveSettings& settings, std::string node, Heard heard, Log& log)
      : postgres_(postgres),
        outbox_poll_(std::max<int64_t>(settings.outbox_poll_ms, 10)),
        poll_(std::max<int64_t>(settings.poll_ms, 10)),
        node_(std::move(node)),
        heard_(std::move(heard)),
        log_(log),
        wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        thread_([this] { run(); }) {}

  ~PostgresFeed() override {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    ring();
    thread_.join();
    ::close(wake_);
  }

  void follow(const std::string& tenant) override {
    {
      std::lock_guard lock(mutex_);
      followed_.insert(tenant);
    }
    ring();
  }
  void unfollow(const std::string& tenant) override {
    std::lock_guard lock(mutex_);
    followed_.erase(tenant);
  }
  void grown(const std::string& tenant) override {
    {
      std::lock_guard lock(mutex_);
      if (!grown_.insert(tenant).second) return;
    }
    ring();
  }
  void tell(const std::string& tenant, Bytes message) override {
    {
      std::lock_guard lock(mutex_);
      if (messages_.size() >= kMostWaiting) return;
      messages_.emplace_back(tenant, std::move(message));
    }
    ring();
  }

 private:
  // One database. On the feed's thread only.
  struct Database {
    std::unique_ptr<postgres::Connection> connection;
    milliseconds retry = kFirstRetry;
    SteadyClock::time_point retry_at, outbox_at, logs_at, proof_at, answer_by;
    // Whose writes had not been folded at the last look: what of them is another number when one more is there, and
    // when to tell of them again.
    struct Stuck {
      int64_t ids;
      milliseconds pause;
      SteadyClock::time_point again;
    };
    std::map<std::string, Stuck> waiting;
    bool comes_through = false;  // notifications do
    bool pooled = false;         // by luck, if they do: a transaction may be at another server connection than LISTEN
    int64_t listens = 0;         // which server connection does
    bool said = false;           // that they don't
    SteadyClock::time_point needed;
    std::map<std::string, int64_t> tails;  // of followed tenants, as seen last
    SteadyClock::time_point logs_looked;   // then
    SteadyClock::time_point captured;      // when the oldest write was made that waits in their outbox; or nothing
    std::vector<std::string> followed;
    std::vector<std::string> payloads;  // to be sent
  };

  void ring() const {
    const uint64_t one = 1;
    (void)!::write(wake_, &one, sizeof one);
  }

  void run() {
    while (gather()) {
      const SteadyClock::time_point now = SteadyClock::now();
      std::erase_if(databases_, [&](const auto& d) {
        return d.second.followed.empty() && d.second.payloads.empty() && now - d.second.needed > kIdle;
      });
      looks_ = {};
      for (auto& [url, database] : databases_) attend(url, database);
      const SteadyClock::time_point next = SteadyClock::now() + looks_ * kLooksPart;
      if (looks_ != SteadyClock::duration())
        for (auto& [url, database] : databases_) database.outbox_at = std::max(database.outbox_at, next);
      close_spare();
      tell_captured();
      sleep();
    }
  }

  // With a database for each tenant, those that nobody follows are told of a change and no more: of their connections
  // only the one used last is kept, for a PostgreSQL server has a hundred for all its databases.
  void close_spare() {
    const auto spare = [](const Database& d) { return d.followed.empty() && d.payloads.empty(); };
    SteadyClock::time_point newest;
    for (const auto& [url, d] : databases_)
      if (spare(d)) newest = std::max(newest, d.needed);
    std::erase_if(databases_, [&](const auto& d) { return spare(d.second) && d.second.needed < newest; });
  }

  void tell_captured() {
    SteadyClock::time_point oldest;
    for (const auto& [url, d] : databases_)
      if (d.captured != SteadyClock::time_point() && !d.followed.empty())
        oldest = oldest == SteadyClock::time_point() ? d.captured : std::min(oldest, d.captured);
    heard_.captured(oldest == SteadyClock::time_point() ? std::nullopt : std::optional(oldest));
  }

  // What the others want, by database. False: it is over.
  bool gather() {
    std::lock_guard lock(mutex_);
    if (stopping_) return false;
    for (auto& [url, database] : databases_) database.followed.clear();
    const auto of = [&](const std::string& tenant) -> Database& {
      Database& database = databases_[tenant_database(postgres_.url, tenant)];
      database.needed = SteadyClock::now();
      return database;
    };
    for (const std::string& tenant : followed_) of(tenant).followed.push_back(tenant);
    for (const std::string& tenant : std::exchange(grown_, {}))
      of(tenant).payloads.push_back("c " + node_ + " " + tenant);
    for (const auto& [tenant, message] : std::exchange(messages_, {}))
      of(tenant).payloads.push_back("m " + node_ + " " + base64(message) + " " + tenant);
    return true;
  }

  void attend(const std::string& url, Database& d) {
    if (!d.connection && !connect(url, d)) {
      // Who missed a change finds it in the log later; nobody wants a message of yesterday.
      d.payloads.clear();
      return;
    }
    const SteadyClock::time_point now = SteadyClock::now();
    if (now >= d.proof_at) {
      d.payloads.push_back("p " + node_ + " 1");
      d.proof_at = now + kProof;
      d.answer_by = now + kPatience;
    }
    Status done = notify(d);
    if (done.ok()) done = read(d);
    if (done.ok() && d.answer_by != SteadyClock::time_point() && now >= d.answer_by) silent(d);
    if (done.ok() && !d.followed.empty()) done = look(d, now);
    if (done.ok()) return;
    lost(d, done.error());
  }

  bool connect(const std::string& url, Database& d) {
    if (SteadyClock::now() < d.retry_at) return false;
    auto made = postgres::Connection::open(url);
    Status ready = made.ok() ? Status() : Status(made.error());
    if (ready.ok()) {
      (*made)->set_prepare(postgres_.prepare);
      (*made)->set_deadline(SteadyClock::now() + kQueryTime);
      (*made)->send("BEGIN");
      (*made)->send(kListen);
      (*made)->send(kWhich);
      (*made)->send("COMMIT");
      auto listens = (*made)->sync();
      if (listens.ok())
        d.listens = (*listens)[2].integer(0, 0);
      else
        ready = listens.error();
    }
    if (!ready.ok()) return lost(d, ready.error()), false;
    d.connection = std::move(*made);
    d.comes_through = d.pooled = false;
    if (!postgres_.prepare) is_pooled(d);
    d.proof_at = d.outbox_at = d.logs_at = SteadyClock::time_point();
    // What happened before may have been missed.
    for (const std::string& tenant : d.followed) heard_.changed(tenant, looked_at(d, tenant));
    return true;
  }

  // When all that the tenant's log had was known.
  static LiveFeed::Heard::Since looked_at(const Database& d, const std::string& tenant) {
    return d.tails.contains(tenant) ? std::optional(d.logs_looked) : std::nullopt;
  }

  void lost(Database& d, const Error& error) {
    if (d.retry == kFirstRetry)
      log_.write(LogLevel::warning, "live_feed_lost",
                 {{"error", std::string(code_name(error.code))}, {"message", error.message}});
    d.connection.reset();
    d.answer_by = SteadyClock::time_point();
    d.retry_at = SteadyClock::now() + d.retry;
    d.retry = std::min(d.retry * 2, kLongestRetry);
  }

  Status notify(Database& d) {
    if (d.payloads.empty()) return {};
    postgres::Array list = postgres::Array::texts();
    for (const std::string& payload : std::exchange(d.payloads, {})) list.add(BytesView(payload));
    d.connection->set_deadline(SteadyClock::now() + kQueryTime);
    // Nobody waits for the disk because of it.
    d.connection->send("BEGIN");
    d.connection->send("SELECT set_config('synchronous_commit', 'off', true)");
    d.connection->send("SELECT pg_notify('rejoin', p) FROM unnest($1::text[]) AS p", postgres::Params().array(list));
    d.connection->send("COMMIT");
    auto sent = d.connection->sync();
    return sent.ok() ? Status() : sent.error();
  }

  Status read(Database& d) {
    REJOIN_ASSIGN(const std::vector<std::string> payloads, d.connection->notifications("rejoin"));
    for (const std::string& text : payloads) {
      const Payload p = parse(text);
      if (p.word == "p" && p.node == node_) {
        d.comes_through = !d.pooled;
        if (!d.pooled) d.said = false;
        d.retry = kFirstRetry;
        d.answer_by = SteadyClock::time_point();
      }
      if (p.node == node_) continue;
      if (p.word == "c") heard_.changed(std::string(p.rest), SteadyClock::now());
      if (p.word != "m") continue;
      const size_t space = p.rest.find(' ');
      if (space == std::string_view::npos) continue;
      if (const auto message = from_base64(p.rest.substr(0, space)))
        heard_.message(std::string(p.rest.substr(space + 1)), *message);
    }
    return {};
  }

  void silent(Database& d) {
    d.answer_by = SteadyClock::time_point();
    d.comes_through = false;
    d.retry = kFirstRetry;
    say_polls(d);
  }

  // One's own notifications come back whenever two transactions get the same server connection, those of others hardly.
  void is_pooled(Database& d) {
    d.pooled = true;
    d.comes_through = false;
    d.logs_at = std::min(d.logs_at, SteadyClock::now() + poll_);
    say_polls(d);
  }

  void say_polls(Database& d) {
    // A pooler may have given the connection's LISTEN to somebody else.
    if (std::exchange(d.said, true)) return;
    log_.write(LogLevel::warning, "live_polls",
               {{"cure",
                 "PostgreSQL's notifications may not come through (a pooler in transaction mode?): changes at other "
                 "nodes are noticed by polling; give a direct address to --postgres, or a shorter --live-poll"}});
  }

  Status look(Database& d, SteadyClock::time_point now) {
    const bool outbox = now >= d.outbox_at, logs = now >= d.logs_at;
    if (!outbox && !logs) return {};
    postgres::Array names = postgres::Array::texts();
    for (const std::string& tenant : d.followed) names.add(BytesView(tenant));
    d.connection->set_deadline(now + kQueryTime);
    d.connection->send("BEGIN READ ONLY");
    d.connection->send("SELECT set_config('rejoin.all_tenants', 'on', true)");
    d.connection->send(
        "SELECT u.name, (SELECT greatest(0, floor(extract(epoch FROM clock_timestamp()) * 1000)::int8 - o.ms) FROM "
        "rejoin.outbox AS o WHERE o.tenant = u.name ORDER BY o.id LIMIT 1), coalesce((SELECT t.tail FROM rejoin.tenant "
        "AS t WHERE t.name = u.name), 0), coalesce((SELECT sum(o.id) FROM (SELECT id FROM rejoin.outbox WHERE tenant "
        "= u.name ORDER BY id DESC LIMIT 1000) AS o), 0)::int8 FROM unnest($1::text[]) AS u(name)",
        postgres::Params().array(names));
    d.connection->send(kWhich);
    d.connection->send("COMMIT");
    const SteadyClock::time_point began = SteadyClock::now();
    REJOIN_ASSIGN(const std::vector<postgres::Rows> all, d.connection->sync());
    looks_ += SteadyClock::now() - began;
    if (!d.pooled && all[3].integer(0, 0) != d.listens) is_pooled(d);
    std::map<std::string, int64_t> tails;
    std::map<std::string, Database::Stuck> waiting;
    const postgres::Rows& rows = all[2];
    d.captured = {};
    for (size_t i = 0; i < rows.size(); ++i) {
      const std::string tenant = rows.text(i, 0);
      const int64_t tail = rows.integer(i, 2);
      const auto known = d.tails.find(tenant);
      // Of one that is new here nobody knows what its followers have missed.
      const bool fresh = known == d.tails.end();
      bool captured = !rows.is_null(i, 1);
      const bool grown = !fresh && logs && known->second != tail;
      LiveFeed::Heard::Since since = grown ? looked_at(d, tenant) : std::nullopt;
      if (captured) {
        // The database's clock tells the age, so that it need not agree with this one.
        const SteadyClock::time_point made = now - milliseconds(rows.integer(i, 1));
        since = std::min(since.value_or(made), made);
        d.captured = d.captured == SteadyClock::time_point() ? made : std::min(d.captured, made);
        // Those of a table that stands aside stay, and others come: behind them, or between them, when they were
        // written in a transaction that commits late.
        Database::Stuck stuck{rows.integer(i, 3), kStuck, now + kStuck};
        if (const auto before = d.waiting.find(tenant); before != d.waiting.end() && before->second.ids == stuck.ids) {
          stuck = before->second;
          captured = now - made <= kStuck || now >= stuck.again;
          if (now >= stuck.again) {
            stuck.pause = std::min(stuck.pause * 2, kLongestPause);
            stuck.again = now + stuck.pause;
          }
        }
        waiting.emplace(tenant, stuck);
      }
      tails.emplace(tenant, logs || fresh ? tail : known->second);
      if (captured || grown || fresh) heard_.changed(tenant, since);
    }
    d.tails = std::move(tails);
    d.waiting = std::move(waiting);
    if (outbox) d.outbox_at = now + outbox_poll_;
    if (logs) d.logs_looked = now, d.logs_at = now + poll_ * (d.comes_through ? kSeldom : 1);
    return {};
  }

  void sleep() {
    std::vector<pollfd> fds{{wake_, POLLIN, 0}};
    SteadyClock::time_point until = SteadyClock::now() + kProof;
    for (const auto& [url, d] : databases_) {
      if (!d.connection) {
        until = std::min(until, d.retry_at);
        continue;
      }
      fds.push_back({d.connection->socket(), POLLIN, 0});
      until = std::min(until, d.proof_at);
      if (d.answer_by != SteadyClock::time_point()) until = std::min(until, d.answer_by);
      if (!d.followed.empty()) until = std::min({until, d.outbox_at, d.logs_at});
    }
    const auto left = std::chrono::duration_cast<milliseconds>(until - SteadyClock::now()).count() + 1;
    if (::poll(fds.data(), fds.size(), static_cast<int>(std::clamp<int64_t>(left, 0, 60'000))) <= 0) return;
    uint64_t rung = 0;
    (void)!::read(wake_, &rung, sizeof rung);
  }

  const PostgresSettings postgres_;
  const milliseconds outbox_poll_, poll_;
  const std::string node_;
  const Heard heard_;
  Log& log_;
  const int wake_;
  std::mutex mutex_;
  std::set<std::string> followed_, grown_;
  std::vector<std::pair<std::string, Bytes>> messages_;
  bool stopping_ = false;
  std::map<std::string, Database> databases_;  // by address
  SteadyClock::duration looks_{};              // how long those of this round have taken
  std::thread thread_;
};

}  // namespace

std::unique_ptr<LiveFeed> make_postgres_feed(const PostgresSettings& postgres, const LiveSettings& settings,
                                             std::string node, LiveFeed::Heard heard, Log& log) {
  return std::make_unique<PostgresFeed>(postgres, settings, std::move(node), std::move(heard), log);
}

}  // namespace rejoin::server
