// Where the settings of `rejoin serve` come from: the command line, else the environment (REJOIN_ and the option's name
// in capitals), else a file (--config, REJOIN_CONFIG), else the default.
#pragma once

#include <CLI/App.hpp>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/command.h"

namespace rejoin::cli {

struct ConfigArguments {
  std::string file;
  bool print = false;
  std::map<std::string, size_t> lines;  // of the settings that the file decided; apply_config fills it
};

// Adds --config and --print-config, and gives every option of the command, those that it has now, its variable.
// `arguments` must outlive the command.
void add_config_options(CLI::App& command, ConfigArguments& arguments);

// After parsing: gives the options that are not set yet what the file says. Errors: bad_argument, with file, line and
// cure; and those of read_config.
Status apply_config(CLI::App& command, ConfigArguments& arguments);

// An error in what options were given calls them --drift: here by where the value came from, REJOIN_DRIFT or the file's
// line, if that was not the command line.
Error named_by_source(CLI::App& command, const ConfigArguments& arguments, Error error);

// The variables REJOIN_… that are no setting, and that no other command reads either, but look like one: a sentence for
// each, which names what may be meant.
std::vector<std::string> doubtful_variables(CLI::App& command);

// All settings in force, as a file that --config takes, each with where it came from behind it. What would give a
// password away is a comment.
void print_config(CLI::App& command, const ConfigArguments& arguments, Output& output);

}  // namespace rejoin::cli
