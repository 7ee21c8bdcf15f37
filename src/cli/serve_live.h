// The options of `rejoin serve` for live connections.
#pragma once

#include <CLI/App.hpp>
#include <string>

#include "base/result.h"
#include "server/settings.h"

namespace rejoin::cli {

struct LiveArguments {
  size_t connections = 10'000;
  size_t per_device = 4;
  std::string heartbeat = "30s", queue = "256K", poll = "5s", outbox_poll = "25ms";
  std::string messages = "20/s:40";
};

// `arguments` must outlive the command.
void add_live_options(CLI::App& command, LiveArguments& arguments);
// Errors: bad_argument.
Status fill_live(const LiveArguments& arguments, server::Settings& settings);

// Lets this process have as many files as the connections need, as far as the system allows it.
void allow_connections(const server::Settings& settings);

}  // namespace rejoin::cli
