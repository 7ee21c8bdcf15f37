// The frame of the `rejoin` command: parsing, help, errors, exit codes.
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <CLI/Validators.hpp>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "cli/command.h"
#include "cli/hints.h"
#include "cli/suggest.h"
#include "cli/terminal.h"

namespace rejoin::cli {
namespace {

// Without the "{one,of,these}" and "INT in [1 - 9]" that the library adds to ours.
std::string own_type(const std::string& type) {
  return type.substr(0, std::min({type.find(":{"), type.find(":UINT"), type.find(":INT")}));
}

// Help for people: what it does, how to call it, one aligned list, an example. Lines end before column 100.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_usage(const CLI::App* app, std::string name) const override {
    if (app->get_parent()) name = "rejoin " + name;
    return "\nUsage: " + CLI::Formatter::make_usage(app, name).substr(std::strlen("Usage: "));
  }
  std::string make_footer(const CLI::App* app) const override { return app->get_footer() + "\n"; }
  std::string make_subcommand(const CLI::App* command) const override {
    return entry(command->get_name(), command->get_description());
  }
  std::string make_option(const CLI::Option* option, bool is_positional) const override {
    std::string name = is_positional ? option->get_name(true) : option->get_name(false, true);
    for (size_t at = name.find(','); at != std::string::npos; at = name.find(',', at + 2)) name.insert(at + 1, " ");
    if (!is_positional && option->get_type_size() != 0) name += " " + own_type(option->get_type_name());
    return entry(name, option->get_description());
  }
  std::string make_option_usage(const CLI::Option* option) const override {
    std::string name = option->get_name(true) + (option->get_expected_max() > 1 ? "..." : "");
    return option->get_required() ? name : "[" + name + "]";
  }

 private:
  static std::string entry(const std::string& name, const std::string& text) {
    static constexpr size_t kIndent = 26, kWidth = 100;
    std::string line = "  " + name, out;
    if (line.size() + 2 > kIndent) out += line + "\n", line.clear();
    line.resize(kIndent, ' ');
    bool fresh = true;
    for (size_t at = 0; at < text.size();) {
      size_t end = std::min(text.find(' ', at), text.size());
      if (!fresh && line.size() + 1 + (end - at) > kWidth) out += line + "\n", line.assign(kIndent, ' '), fresh = true;
      line += (fresh ? "" : " ") + text.substr(at, end - at);
      fresh = false;
      at = end + 1;
    }
    return out + line + "\n";
  }
};

std::vector<std::string> command_names(CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands({})) names.push_back(command->get_name());
  return names;
}

bool asks_for_json(int argc, char** argv) {
  for (int i = 1; i < argc && std::strcmp(argv[i], "--") != 0; ++i)
    if (std::strcmp(argv[i], "--json") == 0) return true;
  return false;
}

// Is this option on the command line?
bool writes(const std::string& option, int argc, char** argv) {
  for (int i = 1; i < argc && std::strcmp(argv[i], "--") != 0; ++i)
    if (const std::string_view word = argv[i]; word.substr(0, word.find('=')) == option) return true;
  return false;
}

// The first option that the command does not have, and which one may be meant; empty when it has all.
std::string unknown_option(const CLI::App& command, int argc, char** argv) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options())
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  for (int i = 2; i < argc && std::strcmp(argv[i], "--") != 0; ++i) {
    const std::string_view argument = argv[i], word = argument.substr(0, argument.find('='));
    if (word.starts_with("--") && std::find(names.begin(), names.end(), word) == names.end())
      return std::string(word) + "." + did_you_mean(word, names);
  }
  return {};
}

// "pg foo": ACTION: foo not in {init,track} is what the library says of a word that is none of those it takes.
std::string none_of_these(const std::string& message) {
  static constexpr std::string_view kNotIn = " not in {";
  const size_t colon = message.find(": "), list = message.rfind(kNotIn);
  if (colon == std::string::npos || list == std::string::npos || list < colon + 2 || !message.ends_with('}')) return {};
  const std::string word = message.substr(colon + 2, list - colon - 2);
  std::vector<std::string> words;
  for (size_t at = list + kNotIn.size(); at < message.size();) {
    const size_t end = std::min(message.find(',', at), message.size() - 1);
    words.push_back(message.substr(at, end - at));
    at = end + 1;
  }
  std::string known;
  for (const std::string& one : words) known += (known.empty() ? "" : &one == &words.back() ? " or " : ", ") + one;
  return message.substr(0, colon) + " takes " + known + ", not '" + word + "'." + did_you_mean(word, words);
}

// The usage error's own words, with what to do next.
int usage_error(CLI::App& app, const CLI::ParseError& error, int argc, char** argv) {
  Output output(asks_for_json(argc, argv));
  std::string message = error.what(), command;
  std::string unknown;
  for (CLI::App* sub : app.get_subcommands()) command = sub->get_name(), unknown = unknown_option(*sub, argc, argv);
  if (command.empty() && argc > 1 && argv[1][0] != '-')
    message = "there is no command '" + std::string(argv[1]) + "'." + did_you_mean(argv[1], command_names(app));
  else if (command.empty() && argc > 1)
    message = "there is no option '" + std::string(argv[1]) + "'";
  static constexpr std::string_view kUnexpected = "The following argument was not expected: ";
  static constexpr std::string_view kSeveral = "The following arguments were not expected: ";
  for (std::string_view start : {kUnexpected, kSeveral})
    if (message.starts_with(start))
      message = "not expected here: " + (unknown.empty() ? message.substr(start.size()) : unknown);
  static constexpr std::string_view kConvert = "Could not convert: ";
  if (const size_t equals = message.find(" = "); message.starts_with(kConvert) && equals != std::string::npos)
    message = message.substr(kConvert.size(), equals - kConvert.size()) + " does not take '" +
              message.substr(equals + 3) + "'";
  if (std::string words = none_of_these(message); !words.empty()) message = std::move(words);
  // --limit: Value x not in range 1 to 1000
  static constexpr std::string_view kValue = ": Value ", kRange = " not in range ";
  if (const size_t value = message.find(kValue), range = message.rfind(kRange);
      value != std::string::npos && range != std::string::npos && range > value)
    message = message.substr(0, value) + " takes a number from " + message.substr(range + kRange.size()) + ", not '" +
              message.substr(value + kValue.size(), range - value - kValue.size()) + "'";
  // --log-level: …, when nobody wrote that, but REJOIN_LOG_LEVEL=…
  for (const CLI::App* sub : app.get_subcommands())
    for (const CLI::Option* option : sub->get_options())
      for (const std::string& name : option->get_lnames())
        if (const std::string word = "--" + name;
            !option->get_envname().empty() && std::getenv(option->get_envname().c_str()) &&
            (message.starts_with(word + ":") || message.starts_with(word + " ")) && !writes(word, argc, argv))
          message.replace(0, word.size(), option->get_envname());
  // --token excludes --token-file
  static constexpr std::string_view kExcludes = " excludes ";
  if (const size_t at = message.find(kExcludes); message.starts_with("--") && at != std::string::npos)
    message = "give " + message.substr(0, at) + " or " + message.substr(at + kExcludes.size()) + ", not both";
  // --drift: 1 required TIME missing
  static constexpr std::string_view kOneRequired = ": 1 required ", kMissing = " missing";
  if (const size_t at = message.find(kOneRequired); at != std::string::npos && message.ends_with(kMissing))
    message =
        message.substr(0, at) + " needs a value: " +
        own_type(message.substr(at + kOneRequired.size(), message.size() - at - kOneRequired.size() - kMissing.size()));
  // ACTION is required: init, track, …
  static constexpr std::string_view kRequired = " is required";
  if (message.ends_with(kRequired))
    for (const CLI::App* sub : app.get_subcommands())
      for (const CLI::Option* option : sub->get_options())
        if (option->get_name(true) == message.substr(0, message.size() - kRequired.size()))
          message += ": " + option->get_description();
  // The library's sentences begin in several ways; ours begin small.
  if (message.size() > 1 && message[0] >= 'A' && message[0] <= 'Z' && message[1] >= 'a' && message[1] <= 'z' &&
      message.find(": ") == std::string::npos)
    message[0] = static_cast<char>(message[0] - 'A' + 'a');
  return output.error(fail(Code::bad_argument, message),
                      {"see: rejoin " + (command.empty() ? "" : command + " ") + "--help"});
}

// `rejoin help track` is `rejoin track --help`, and `rejoin help` is `rejoin --help`.
std::vector<char*> with_help_as_option(int argc, char** argv) {
  static char help[] = "--help";
  std::vector<char*> out(argv, argv + argc);
  if (argc >= 2 && argc <= 3 && std::strcmp(argv[1], "help") == 0) {
    out.erase(out.begin() + 1);
    out.push_back(help);
  }
  return out;
}

// A full disk or a closed pipe must not look like success.
int finish_output(int exit) {
  errno = 0;
  if (std::fflush(stdout) == 0 && !std::ferror(stdout)) return exit;
  int cause = errno != 0 ? errno : output_errno();
  if (cause == EPIPE) {
    // The reader had enough, as `head` does: end as every other program does then.
    std::signal(SIGPIPE, SIG_DFL);
    std::raise(SIGPIPE);
  }
  std::fprintf(stderr, "error: writing the output failed: %s\n", std::strerror(cause));
  return exit == kOk ? kFailed : exit;
}

int run_guarded(int argc, char** argv) {
  CLI::App app("Offline-first sync for SQLite. Track a table, edit anywhere, merge with anyone.", "rejoin");
  app.formatter(std::make_shared<HelpFormatter>());
  app.set_version_flag("--version", "rejoin " REJOIN_VERSION, "Print the version and exit");
  app.set_help_flag("-h,--help", "Print this help and exit");
  app.require_subcommand(1);
  app.footer(
      "Begin with an SQLite file of yours:\n"
      "  rejoin track app.db todos        # from now on every write is captured, by whatever program\n"
      "  rejoin merge app.db copy.db      # two files, no server\n"
      "  rejoin serve --data server       # or a server, and: rejoin sync app.db URL --token TOKEN\n"
      "\nExit status: 0 done, 2 wrong command line, 3 refused, 4 no server, 5 try again later, 6 not found,\n"
      "7 damaged, 130 stopped by Ctrl-C, 1 anything else.\n"
      "\n`rejoin COMMAND --help` has the details, docs/cli.md the reference.");
  Commands commands(app);
  add_track(commands);
  add_untrack(commands);
  add_status(commands);
  add_changes(commands);
  add_explain(commands);
  add_restore(commands);
  add_merge(commands);
  add_sync(commands);
  add_live(commands);
  add_serve(commands);
  add_token(commands);
  add_pg(commands);
  add_contract(commands);
  add_admin(commands);
  add_inspect(commands);
  add_doctor(commands);
  add_compact(commands);
  add_errors(commands);
  const std::vector<std::string> names = command_names(app);
  bool known = argc <= 1 || argv[1][0] == '-' || std::find(names.begin(), names.end(), argv[1]) != names.end();
  if (!known) return usage_error(app, CLI::ExtrasError({argv[1]}), argc, argv);  // also where help is asked for
  if (argc <= 1) {
    std::fputs(app.help().c_str(), stdout);
    return kUsage;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    const auto chosen = app.get_subcommands();
    std::fputs((chosen.empty() ? app.help() : chosen.front()->help()).c_str(), stdout);
    return kOk;
  } catch (const CLI::CallForVersion& version) {
    std::puts(version.what());
    return kOk;
  } catch (const CLI::ParseError& error) {
    return usage_error(app, error, argc, argv);
  }
  Output output(commands.json());
  Result<int> result = commands.chosen()(output);
  int exit = result.ok() ? *result : output.error(result.error(), hints_for(result.error().code));
  return finish_output(exit);
}

}  // namespace

int run(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  try {
    std::vector<char*> words = with_help_as_option(argc, argv);
    return run_guarded(static_cast<int>(words.size()), words.data());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return kFailed;
  }
}

}  // namespace rejoin::cli
