// How a subcommand plugs into the `rejoin` command. Each lives in a file of its own and has one function add_<name>().
#pragma once

#include <CLI/App.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/exit_code.h"

namespace rejoin::cli {

// What a running command is told and how it answers. With --json, stdout carries JSON only, and exactly one document
// unless the command says "one per line"; without, it carries text for a person. Warnings go to stderr.
class Output {
 public:
  explicit Output(bool json);
  bool json() const { return json_; }
  bool color() const { return color_; }
  int columns() const { return columns_; }  // of the terminal; 0: not a terminal, nothing should be cut
  void text(std::string_view text);
  void line(std::string_view text);
  void document(const boost::json::value& value);
  // Nobody reads any more, or the disk is full: there is no use in going on.
  bool closed() const;
  void flush();
  // To stderr, with the word in front; nothing with --json (put it into the document).
  void warning(std::string_view text);
  void hint(std::string_view text);
  // To stderr, or as {"error":{…}} to stdout with --json. Returns the exit code.
  int error(const Error& error, const std::vector<std::string>& hints = {});

 private:
  bool json_;
  bool color_;
  int columns_;
};

// Why standard output could not be written; 0 when it could.
int output_errno();

// {"code", "message", "retry", "exit", "hints"}
boost::json::object error_json(const Error& error, const std::vector<std::string>& hints);

// The exit code, or an error that the frame prints.
using Action = std::function<Result<int>(Output&)>;

class Commands {
 public:
  explicit Commands(CLI::App& app) : app_(app) {}
  // A subcommand with --json and an example at the end of its --help. `example` is one command per line.
  CLI::App* add(const std::string& name, const std::string& summary, const std::string& details,
                const std::string& example);
  // What runs when it is chosen.
  void on_run(CLI::App* command, Action action);
  // The chosen one, after parsing; empty when none was.
  const Action& chosen() const { return chosen_; }
  bool json() const { return json_; }
  CLI::App& app() { return app_; }

 private:
  CLI::App& app_;
  Action chosen_;
  bool json_ = false;
};

void add_track(Commands& commands);
void add_untrack(Commands& commands);
void add_status(Commands& commands);
void add_changes(Commands& commands);
void add_explain(Commands& commands);
void add_restore(Commands& commands);
void add_sync(Commands& commands);
void add_merge(Commands& commands);
void add_live(Commands& commands);
void add_serve(Commands& commands);
void add_token(Commands& commands);
void add_pg(Commands& commands);
void add_admin(Commands& commands);
void add_inspect(Commands& commands);
void add_doctor(Commands& commands);
void add_compact(Commands& commands);
void add_errors(Commands& commands);
void add_contract(Commands& commands);

// The whole program. Never throws.
int run(int argc, char** argv);

}  // namespace rejoin::cli
