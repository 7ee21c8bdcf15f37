#include "cli/serve_config.h"

#include <unistd.h>
#include <CLI/Error.hpp>
#include <algorithm>
#include <boost/json/array.hpp>
#include <cstdlib>
#include <map>
#include <vector>

#include "cli/config_file.h"
#include "cli/suggest.h"

namespace rejoin::cli {
namespace {

// Options that are about this one run and no settings.
bool is_setting(const std::string& name) {
  return !name.empty() && name != "help" && name != "json" && name != "config" && name != "print-config";
}

std::string name_of(const CLI::Option& option) {
  const std::vector<std::string>& names = option.get_lnames();
  return names.empty() ? std::string() : names.front();
}

std::vector<CLI::Option*> settings_of(CLI::App& command) {
  std::vector<CLI::Option*> out;
  for (CLI::Option* option : command.get_options())
    if (is_setting(name_of(*option))) out.push_back(option);
  return out;
}

constexpr std::string_view kPrefix = "REJOIN_";

std::string variable_of(const std::string& name) {
  std::string out(kPrefix);
  for (char c : name) out += c == '-' ? '_' : c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
  return out;
}

// " Did you mean …?", or empty. What all have in front is no likeness; REJOIN_DATA_DIR is like REJOIN_DATA.
std::string variable_meant(const std::string& name, const std::vector<std::string>& known) {
  std::vector<std::string> rests;
  for (const std::string& one : known) rests.push_back(one.substr(kPrefix.size()));
  const std::string rest = name.substr(kPrefix.size());
  std::vector<std::string> near = near_names(rest, rests);
  if (near.empty())
    for (const std::string& one : rests)
      if (rest.starts_with(one + "_")) near = {one};
  return near.empty() ? "" : " Did you mean " + std::string(kPrefix) + near.front() + "?";
}

// Kubernetes tells every container of the services beside it:
// https://kubernetes.io/docs/concepts/services-networking/service/ Of one called `rejoin-postgres`:
// REJOIN_POSTGRES_SERVICE_HOST, REJOIN_POSTGRES_PORT_5432_TCP_ADDR and their like.
bool tells_of_service(std::string_view name, std::string_view value) {
  if (name.find("_SERVICE_HOST") != name.npos || name.find("_SERVICE_PORT") != name.npos) return true;
  for (std::string_view protocol : {"tcp://", "udp://", "sctp://"})
    if (value.starts_with(protocol)) return true;
  static constexpr std::string_view kPort = "_PORT_";
  for (size_t at = name.find(kPort); at != name.npos; at = name.find(kPort, at + 1)) {
    const size_t number = at + kPort.size(), end = name.find_first_not_of("0123456789", number);
    if (end == name.npos || end == number) continue;
    for (std::string_view protocol : {"_TCP", "_UDP", "_SCTP"})
      if (name.substr(end).starts_with(protocol)) return true;
  }
  return false;
}

bool is_flag(const CLI::Option& option) { return option.get_items_expected_max() == 0; }
bool takes_several(const CLI::Option& option) {
  return option.get_multi_option_policy() == CLI::MultiOptionPolicy::TakeAll;
}

Status apply(CLI::Option& option, const ConfigEntry& entry, const std::string& where) {
  const auto wrong = [&](const std::string& what) {
    return fail(Code::bad_argument, where + ", line " + std::to_string(entry.line) + ": " + what);
  };
  if (entry.values.size() > 1 && !takes_several(option))
    return wrong("'" + entry.name + "' takes one value; remove the brackets");
  const bool boolean = entry.values.size() == 1 && (entry.values[0] == "true" || entry.values[0] == "false");
  if (is_flag(option) && !boolean) return wrong("'" + entry.name + "' is true or false");
  if (entry.values.empty()) return {};
  try {
    for (const std::string& value : entry.values) option.add_result(value);
    option.run_callback();
  } catch (const CLI::ParseError& error) {
    return wrong("'" + entry.name + "' cannot be '" + entry.values.front() + "': " + error.what());
  }
  return {};
}

// Does a PostgreSQL address, in either of its forms, or any other have a password in it?
bool has_password(const std::string& value) {
  const size_t scheme = value.find("://"), at = value.find('@');
  if (scheme != std::string::npos && at != std::string::npos) {
    const size_t user = scheme + 3, end = std::min(value.find('/', user), value.size());
    const size_t last = value.rfind('@', end), colon = value.find(':', user);
    if (last != std::string::npos && colon < last) return true;
  }
  return value.find("password=") != std::string::npos || value.find("password =") != std::string::npos;
}

struct Shown {
  std::vector<std::string> values;
  std::string source;  // as source_of
};

constexpr std::string_view kCommandLine = "command line", kDefault = "default";

// One of these two, "REJOIN_…", or the file and the line.
std::string source_of(CLI::App& command, const CLI::Option& option, const ConfigArguments& arguments) {
  if (option.count() == 0) return std::string(kDefault);
  const std::vector<CLI::Option*>& given = command.parse_order();
  if (std::find(given.begin(), given.end(), &option) != given.end()) return std::string(kCommandLine);
  if (const auto line = arguments.lines.find(name_of(option)); line != arguments.lines.end())
    return arguments.file + ", line " + std::to_string(line->second);
  return option.get_envname();
}

Shown shown(CLI::App& command, CLI::Option& option, const ConfigArguments& arguments) {
  if (option.count() == 0) {
    option.capture_default_str();
    std::string text = option.get_default_str();
    if (is_flag(option)) text = "false";
    if (takes_several(option)) text.clear();
    return {text.empty() ? std::vector<std::string>() : std::vector<std::string>{text}, std::string(kDefault)};
  }
  Shown out{option.results(), source_of(command, option, arguments)};
  if (is_flag(option) && !out.values.empty()) out.values = {option.as<bool>() ? "true" : "false"};
  return out;
}

}  // namespace

void add_config_options(CLI::App& command, ConfigArguments& arguments) {
  for (CLI::Option* option : settings_of(command)) option->envname(variable_of(name_of(*option)));
  command
      .add_option("--config", arguments.file,
                  "Settings from a file, one `name = value` a line; the command line and REJOIN_… variables win")
      ->type_name("FILE")
      ->envname("REJOIN_CONFIG");
  command.add_flag("--print-config", arguments.print, "Print the settings in force as such a file, and exit");
}

Error named_by_source(CLI::App& command, const ConfigArguments& arguments, Error error) {
  if (error.code != Code::bad_argument) return error;
  for (const CLI::Option* option : settings_of(command)) {
    const std::string name = name_of(*option), word = "--" + name, source = source_of(command, *option, arguments);
    if (source == kCommandLine || source == kDefault) continue;
    const std::string better = source == option->get_envname() ? source : "'" + name + "' (" + source + ")";
    std::string& text = error.message;
    for (size_t at = text.find(word); at != text.npos; at = text.find(word, at + 1)) {
      const char next = at + word.size() < text.size() ? text[at + word.size()] : ' ';
      if (next != '-' && (next < 'a' || next > 'z')) text.replace(at, word.size(), better);
    }
  }
  return error;
}

std::vector<std::string> doubtful_variables(CLI::App& command) {
  std::vector<std::string> known = {"REJOIN_SECRET", "REJOIN_TOKEN", "REJOIN_CONFIG"}, out;
  for (const CLI::Option* option : settings_of(command)) known.push_back(variable_of(name_of(*option)));
  for (char** variable = environ; *variable; ++variable) {
    const std::string_view text = *variable;
    const size_t equals = std::min(text.find('='), text.size());
    const std::string name(text.substr(0, equals));
    if (!name.starts_with(kPrefix) || std::find(known.begin(), known.end(), name) != known.end()) continue;
    if (tells_of_service(name, text.substr(std::min(equals + 1, text.size())))) continue;
    if (const std::string meant = variable_meant(name, known); !meant.empty())
      out.push_back("the variable " + name + " is no setting and changes nothing." + meant);
  }
  return out;
}

Status apply_config(CLI::App& command, ConfigArguments& arguments) {
  if (arguments.file.empty()) return {};
  REJOIN_ASSIGN(const std::vector<ConfigEntry> entries, read_config(arguments.file));
  const std::string where = "the settings file '" + arguments.file + "'";
  std::map<std::string, CLI::Option*> known;
  std::vector<std::string> names;
  for (CLI::Option* option : settings_of(command)) {
    names.push_back(name_of(*option));
    known[names.back()] = option;
  }
  for (const ConfigEntry& entry : entries) {
    const auto found = known.find(entry.name);
    if (found == known.end())
      return fail(Code::bad_argument, where + ", line " + std::to_string(entry.line) + ": there is no setting '" +
                                          entry.name + "'." + did_you_mean(entry.name, names) +
                                          " Settings are the options of `rejoin serve --help`, without the dashes in "
                                          "front; correct the name, or remove the line");
    if (found->second->count() != 0) continue;  // the command line or the environment has the word
    REJOIN_TRY(apply(*found->second, entry, where));
    arguments.lines[entry.name] = entry.line;
  }
  return {};
}

void print_config(CLI::App& command, const ConfigArguments& arguments, Output& output) {
  boost::json::object document;
  for (CLI::Option* option : settings_of(command)) {
    const std::string name = name_of(*option);
    const Shown setting = shown(command, *option, arguments);
    const bool secret = std::any_of(setting.values.begin(), setting.values.end(), has_password);
    std::string text;
    boost::json::array list;
    for (const std::string& value : setting.values) {
      text += (text.empty() ? "" : ", ") + config_value(value);
      list.emplace_back(value);
    }
    if (output.json()) {
      document[name] = {{"values", secret ? boost::json::value(nullptr) : boost::json::value(list)},
                        {"source", setting.source}};
    } else if (secret) {
      output.line("# " + name + " is left out: it has a password  # " + setting.source);
    } else if (setting.values.empty()) {
      output.line("# " + name + " is not set");
    } else {
      if (takes_several(*option)) text = "[" + text + "]";
      output.line(name + " = " + text + "  # " + setting.source);
    }
  }
  const char* secret = std::getenv("REJOIN_SECRET");
  if (output.json())
    output.document(document);
  else if (secret && *secret)
    output.line("# a secret is left out  # REJOIN_SECRET");
}

}  // namespace rejoin::cli
