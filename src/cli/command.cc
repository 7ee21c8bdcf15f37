#include "cli/command.h"

#include <boost/json/serialize.hpp>
#include <cerrno>
#include <cstdio>

#include "cli/terminal.h"

namespace rejoin::cli {

namespace json = boost::json;

Output::Output(bool json) : json_(json), color_(wants_color(1)), columns_(terminal_columns(1)) {}

namespace {
int g_output_errno = 0;
}

int output_errno() { return g_output_errno; }

void Output::text(std::string_view text) {
  if (closed()) return;
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) g_output_errno = errno;
}

void Output::line(std::string_view text) { this->text(std::string(text) + "\n"); }

bool Output::closed() const { return g_output_errno != 0 || std::ferror(stdout) != 0; }

void Output::flush() {
  if (!closed() && std::fflush(stdout) != 0) g_output_errno = errno;
}

void Output::document(const json::value& value) { line(json::serialize(value)); }

void Output::warning(std::string_view text) {
  if (json_) return;
  flush();
  std::fprintf(stderr, "%s %.*s\n", paint(wants_color(2), Color::yellow, "warning:").c_str(),
               static_cast<int>(text.size()), text.data());
}

void Output::hint(std::string_view text) {
  if (json_) return;
  flush();
  std::fprintf(stderr, "%s %.*s\n", paint(wants_color(2), Color::dim, "hint:").c_str(), static_cast<int>(text.size()),
               text.data());
}

json::object error_json(const Error& error, const std::vector<std::string>& hints) {
  json::array advice;
  for (const std::string& hint : hints) advice.emplace_back(hint);
  return {{"code", std::string(code_name(error.code))},
          {"message", error.message},
          {"retry", code_retryable(error.code)},
          {"exit", static_cast<int>(exit_code_of(error.code))},
          {"hints", std::move(advice)}};
}

int Output::error(const Error& error, const std::vector<std::string>& hints) {
  ExitCode exit = exit_code_of(error.code);
  if (json_) return document({{"error", error_json(error, hints)}}), exit;
  flush();
  std::string message = error.message.empty() ? std::string(code_meaning(error.code)) : error.message;
  std::fprintf(stderr, "%s %s\n", paint(wants_color(2), Color::red, "error:").c_str(), printable(message).c_str());
  for (const std::string& text : hints) hint(text);
  return exit;
}

CLI::App* Commands::add(const std::string& name, const std::string& summary, const std::string& details,
                        const std::string& example) {
  CLI::App* command = app_.add_subcommand(name, summary);
  command->add_flag("--json", json_, "Print JSON, for programs");
  std::string footer = details.empty() ? "" : details + "\n\n";
  footer += example.find('\n') == std::string::npos ? "Example:\n" : "Examples:\n";
  for (size_t at = 0; at < example.size();) {
    size_t end = std::min(example.find('\n', at), example.size());
    footer += "  " + example.substr(at, end - at) + "\n";
    at = end + 1;
  }
  footer.pop_back();
  command->footer(footer);
  return command;
}

void Commands::on_run(CLI::App* command, Action action) {
  command->callback([this, action = std::move(action)] { chosen_ = action; });
}

}  // namespace rejoin::cli
