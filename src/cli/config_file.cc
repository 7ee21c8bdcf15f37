#include "cli/config_file.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

namespace rejoin::cli {
namespace {

constexpr size_t kMostBytes = 1 << 20;

bool name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}
bool digit(char c) { return c >= '0' && c <= '9'; }

// -5, 0, 12, 1_000: as TOML has decimal integers.
bool integer(std::string_view word) {
  if (word.starts_with('-') || word.starts_with('+')) word.remove_prefix(1);
  if (word.empty() || (word.size() > 1 && word[0] == '0')) return false;
  for (size_t i = 0; i < word.size(); ++i)
    if (!digit(word[i]) && !(word[i] == '_' && i > 0 && i + 1 < word.size() && word[i - 1] != '_')) return false;
  return true;
}

class Parser {
 public:
  Parser(std::string_view text, const std::string& where) : text_(text), where_(where) {}

  Result<std::vector<ConfigEntry>> run() {
    if (text_.starts_with("\xef\xbb\xbf")) at_ = 3;
    std::vector<ConfigEntry> out;
    for (;;) {
      skip(true);
      if (done()) return out;
      if (peek() == '[') return wrong("settings stand directly in this file, without [sections]; remove the line");
      ConfigEntry entry;
      entry.line = line_;
      while (!done() && name_char(peek())) entry.name += text_[at_++];
      if (entry.name.empty())
        return wrong("a setting's name should stand here, as in: max-body = \"32M\"; a comment begins with #");
      for (const ConfigEntry& earlier : out)
        if (earlier.name == entry.name)
          return wrong("'" + entry.name + "' was set in line " + std::to_string(earlier.line) +
                       " already; keep one of the two");
      skip(false);
      if (done() || peek() != '=') return wrong("after '" + entry.name + "' comes = and a value");
      ++at_;
      skip(false);
      if (!done() && peek() == '[') {
        REJOIN_TRY(array(entry));
      } else {
        REJOIN_TRY(value(entry));
      }
      skip(false);
      if (!done() && peek() == '#') comment();
      if (!done() && peek() != '\n')
        return wrong("after the value of '" + entry.name +
                     "' the line should end; a text stands in quotes, several values in [brackets]");
      out.push_back(std::move(entry));
    }
  }

 private:
  bool done() const { return at_ >= text_.size(); }
  char peek() const { return text_[at_]; }
  void comment() {
    while (!done() && peek() != '\n') ++at_;
  }
  // White space; line ends and comments too if told to.
  void skip(bool lines) {
    for (; !done(); ++at_) {
      if (lines && peek() == '#') comment();
      if (done()) return;
      if (peek() == '\n' && lines)
        ++line_;
      else if (peek() != ' ' && peek() != '\t' && peek() != '\r')
        return;
    }
  }
  Error wrong(const std::string& what) const {
    return fail(Code::bad_argument, where_ + ", line " + std::to_string(line_) + ": " + what);
  }

  Status array(ConfigEntry& entry) {
    ++at_;
    for (;;) {
      skip(true);
      if (done()) return wrong("the array of '" + entry.name + "' has no end; close it with ]");
      if (peek() == ']') return ++at_, Status();
      REJOIN_TRY(value(entry));
      skip(true);
      if (!done() && peek() == ',')
        ++at_;
      else if (!done() && peek() != ']')
        return wrong("between two values of an array stands a comma");
    }
  }

  Status value(ConfigEntry& entry) {
    if (done() || peek() == '\n' || peek() == '#')
      return wrong("'" + entry.name + "' has no value; write one, or remove the line");
    std::string out;
    if (peek() == '"' || peek() == '\'') {
      REJOIN_TRY(text(out));
    } else {
      while (!done() && (name_char(peek()) || peek() == '.' || peek() == '+')) out += text_[at_++];
      if (out != "true" && out != "false" && !integer(out))
        return wrong("the value of '" + entry.name +
                     "' is no number and neither true nor false, so it stands in quotes: " + entry.name + " = \"…\"");
      std::erase(out, '_');
    }
    entry.values.push_back(std::move(out));
    return {};
  }

  Status text(std::string& out) {
    const char quote = text_[at_++];
    for (;; ++at_) {
      if (done() || peek() == '\n') return wrong("a text has no end; close it with " + std::string(1, quote));
      char c = peek();
      if (c == quote) return ++at_, Status();
      if (c == '\\' && quote == '"') {
        static constexpr std::string_view kEscapes = "\"\\ntr", kMeaning = "\"\\\n\t\r";
        const size_t which = ++at_ < text_.size() ? kEscapes.find(peek()) : std::string_view::npos;
        if (which == std::string_view::npos)
          return wrong("a backslash stands before one of \" \\ n t r; write a text with others in 'single quotes'");
        c = kMeaning[which];
      }
      out += c;
    }
  }

  const std::string_view text_;
  const std::string& where_;
  size_t at_ = 0, line_ = 1;
};

}  // namespace

Result<std::vector<ConfigEntry>> parse_config(std::string_view text, const std::string& where) {
  return Parser(text, where).run();
}

Result<std::vector<ConfigEntry>> read_config(const std::string& path) {
  const auto failed = [&](int error) {
    const Code code = error == EISDIR                       ? Code::bad_argument
                      : error == ENOENT || error == ENOTDIR ? Code::not_found
                      : error == EACCES || error == EPERM   ? Code::forbidden
                                                            : Code::disk;
    return fail(code, "cannot read the settings file '" + path + "': " + std::strerror(error) +
                          "; check the path and its permissions");
  };
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rbe"), std::fclose);
  if (!file) return failed(errno);
  std::string text(kMostBytes + 1, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file.get()));
  if (std::ferror(file.get())) return failed(errno);
  if (text.size() > kMostBytes)
    return fail(Code::bad_argument, "the settings file '" + path + "' has more than " + std::to_string(kMostBytes) +
                                        " bytes; is it the right file?");
  return parse_config(text, "the settings file '" + path + "'");
}

std::string config_value(std::string_view value) {
  if (value == "true" || value == "false" || (integer(value) && value.find('_') == std::string_view::npos))
    return std::string(value);
  std::string out = "\"";
  for (char c : value) {
    static constexpr std::string_view kEscapes = "\"\\ntr", kMeaning = "\"\\\n\t\r";
    if (const size_t which = kMeaning.find(c); which != std::string_view::npos)
      out += '\\', out += kEscapes[which];
    else
      out += c;
  }
  return out + "\"";
}

}  // namespace rejoin::cli
