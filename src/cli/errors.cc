// rejoin errors: what an error's name means, and which exit status it ends a command with.
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "cli/command.h"
#include "cli/suggest.h"
#include "cli/terminal.h"

namespace rejoin::cli {
namespace {

Result<int> list_errors(const std::string& wanted, Output& output) {
  TextTable table({"NAME", "EXIT", "HTTP", "RETRY", "MEANING"});
  table.align_right(1), table.align_right(2);
  boost::json::array documents;
  std::vector<std::string> names;
  for (uint64_t number = 0; number < 1000; ++number) {
    std::optional<Code> code = code_from_number(number);
    if (!code) continue;
    std::string name(code_name(*code));
    names.push_back(name);
    if (!wanted.empty() && wanted != name && wanted != std::to_string(number)) continue;
    int exit = exit_code_of(*code);
    table.add({name, std::to_string(exit), std::to_string(code_http_status(*code)),
               code_retryable(*code) ? "yes" : "no", std::string(code_meaning(*code))});
    documents.push_back({{"name", name},
                         {"number", number},
                         {"exit", exit},
                         {"http", code_http_status(*code)},
                         {"retry", code_retryable(*code)},
                         {"meaning", std::string(code_meaning(*code))}});
  }
  if (table.empty()) return fail(Code::not_found, "there is no error '" + wanted + "'." + did_you_mean(wanted, names));
  if (output.json())
    output.document(documents);
  else
    output.text(table.text(0, output.color()));
  return kOk;
}

}  // namespace

void add_errors(Commands& commands) {
  auto name = std::make_shared<std::string>();
  CLI::App* command = commands.add("errors", "List the errors and what to do about them", "",
                                   "rejoin errors\nrejoin errors stale_chain");
  command->add_option("NAME", *name, "Only this one, by its name or number");
  commands.on_run(command, [name](Output& output) { return list_errors(*name, output); });
}

}  // namespace rejoin::cli
