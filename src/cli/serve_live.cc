#include "cli/serve_live.h"

#include <sys/resource.h>
#include <CLI/Validators.hpp>

#include <algorithm>

#include "cli/in_flag.h"
#include "cli/units.h"

namespace rejoin::cli {

void add_live_options(CLI::App& command, LiveArguments& arguments) {
  command.add_option("--max-live", arguments.connections, "Most live connections (10000); 0 takes none")
      ->type_name("N")
      ->check(CLI::Range(0, 10'000'000));
  command
      .add_option("--live-per-device", arguments.per_device,
                  "Most live connections of a device (4); a further one takes the oldest one's place")
      ->type_name("N")
      ->check(CLI::Range(1, 1'000'000));
  command
      .add_option("--live-heartbeat", arguments.heartbeat,
                  "Silence after which a live connection is asked for a sign of life (30s); after twice that it is cut")
      ->type_name("TIME");
  command
      .add_option("--live-queue", arguments.queue,
                  "Bytes on the way to one live connection, beyond which further news wait in the store (256K)")
      ->type_name("SIZE");
  command
      .add_option("--live-poll", arguments.poll,
                  "How often the store is looked at for changes that nobody told of (5s)")
      ->type_name("TIME");
  command
      .add_option("--live-outbox-poll", arguments.outbox_poll,
                  "How often PostgreSQL is looked at for writes by plain SQL while somebody follows (25ms)")
      ->type_name("TIME");
  command.add_option("--rate-live-messages", arguments.messages, "Most messages of a device to topics (20/s:40)")
      ->type_name("RATE");
}

Status fill_live(const LiveArguments& arguments, server::Settings& settings) {
  server::LiveSettings& live = settings.live;
  live.connections = arguments.connections;
  live.per_device = arguments.per_device;
  REJOIN_ASSIGN(settings.http.heartbeat_ms, in_flag("--live-heartbeat", parse_duration(arguments.heartbeat)));
  if (settings.http.heartbeat_ms < 1000) return fail(Code::bad_argument, "--live-heartbeat must be at least 1s");
  REJOIN_ASSIGN(live.queue, in_flag("--live-queue", parse_size(arguments.queue)));
  REJOIN_ASSIGN(live.poll_ms, in_flag("--live-poll", parse_duration(arguments.poll)));
  REJOIN_ASSIGN(live.outbox_poll_ms, in_flag("--live-outbox-poll", parse_duration(arguments.outbox_poll)));
  if (live.poll_ms < 10 || live.outbox_poll_ms < 10)
    return fail(Code::bad_argument, "--live-poll and --live-outbox-poll must be at least 10ms");
  Result<server::RateLimit> rate = server::parse_rate_limit(arguments.messages);
  if (!rate.ok()) return in_flag("--rate-live-messages", rate.error());
  live.messages = *rate;
  return {};
}

void allow_connections(const server::Settings& settings) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const rlim_t wanted = settings.http.connections + settings.live.connections + 1024;
  if (limit.rlim_cur >= wanted) return;
  limit.rlim_cur = std::min(wanted, limit.rlim_max);
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace rejoin::cli
