#include "sqlite/alter_sql.h"

#include <cctype>
#include <vector>

#include "sqlite/api.h"

namespace rejoin::sqlite {
namespace {

// A word, a quoted name, or a single character of punctuation. Literals count as quoted names: no statement that is
// read here needs to tell them apart.
struct Token {
  std::string text;
  bool quoted = false;
};

class Tokens {
 public:
  // Everything behind the first semicolon is kept apart.
  explicit Tokens(std::string_view sql) {
    for (size_t i = 0; i < sql.size();) {
      const char c = sql[i];
      if (std::isspace(static_cast<unsigned char>(c)) || c == '\0') {
        ++i;
      } else if (sql.substr(i, 2) == "--") {
        i = std::min(sql.find('\n', i), sql.size());
      } else if (sql.substr(i, 2) == "/*") {
        const size_t end = sql.find("*/", i + 2);
        i = end == std::string_view::npos ? sql.size() : end + 2;
      } else if (c == '"' || c == '\'' || c == '`' || c == '[') {
        i = quoted(sql, i);
      } else if (is_word(c)) {
        size_t end = i;
        while (end < sql.size() && is_word(sql[end])) ++end;
        tokens_.push_back({std::string(sql.substr(i, end - i)), false});
        i = end;
      } else {
        tokens_.push_back({std::string(1, c), false});
        ++i;
      }
    }
  }

  bool word(std::string_view keyword) {
    if (at_ >= tokens_.size() || tokens_[at_].quoted || tokens_[at_].text.size() != keyword.size() ||
        sqlite3_strnicmp(tokens_[at_].text.data(), keyword.data(), static_cast<int>(keyword.size())) != 0)
      return false;
    ++at_;
    return true;
  }
  bool name(std::string& out) {
    if (at_ >= tokens_.size() || (!tokens_[at_].quoted && !is_word(tokens_[at_].text[0]))) return false;
    out = tokens_[at_++].text;
    return true;
  }
  // Is there a statement behind the first one?
  bool several() const {
    bool ended = false;
    for (const Token& t : tokens_) {
      if (!t.quoted && t.text == ";")
        ended = true;
      else if (ended)
        return true;
    }
    return false;
  }

 private:
  static bool is_word(char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '$' || static_cast<unsigned char>(c) >= 0x80;
  }
  size_t quoted(std::string_view sql, size_t i) {
    const char close = sql[i] == '[' ? ']' : sql[i];
    std::string text;
    for (++i; i < sql.size(); ++i) {
      if (sql[i] != close) {
        text.push_back(sql[i]);
      } else if (close != ']' && i + 1 < sql.size() && sql[i + 1] == close) {
        text.push_back(sql[i++]);
      } else {
        ++i;
        break;
      }
    }
    tokens_.push_back({std::move(text), true});
    return i;
  }

  std::vector<Token> tokens_;
  size_t at_ = 0;
};

Error refusal(const std::string& why) {
  return fail(Code::bad_argument, why +
                                      "; give one ALTER TABLE, CREATE INDEX or DROP INDEX of a tracked table. For "
                                      "several statements, or others: rejoin_alter_begin(table), the statements, "
                                      "rejoin_alter_commit(table)");
}

}  // namespace

Result<AlterSql> read_alter_sql(std::string_view sql) {
  Tokens in(sql);
  if (in.several()) return refusal("this is more than one statement");
  AlterSql out;
  auto qualified = [&](std::string& name) -> Result<bool> {
    if (!in.name(name)) return false;
    if (!in.word(".")) return true;
    if (sqlite3_stricmp(name.c_str(), "main") != 0)
      return refusal("only tables of the database main are tracked, not of \"" + name + "\"");
    out.qualified = true;
    return in.name(name);
  };
  if (in.word("ALTER")) {
    if (!in.word("TABLE")) return refusal("this is no ALTER TABLE");
    REJOIN_ASSIGN(const bool named, qualified(out.name));
    if (!named) return refusal("this ALTER TABLE names no table");
    return out;
  }
  if (in.word("CREATE")) {
    (void)in.word("UNIQUE");
    if (!in.word("INDEX")) return refusal("this is no CREATE INDEX");
    if (in.word("IF")) (void)(in.word("NOT") && in.word("EXISTS"));
    std::string index;
    REJOIN_ASSIGN(const bool named, qualified(index));
    if (!named || !in.word("ON") || !in.name(out.name)) return refusal("this CREATE INDEX names no table");
    out.kind = AlterSql::Kind::create_index;
    return out;
  }
  if (in.word("DROP")) {
    if (!in.word("INDEX"))
      return refusal("of all that can be dropped it takes an index; a plain DROP TABLE ends syncing the table");
    if (in.word("IF")) (void)in.word("EXISTS");
    REJOIN_ASSIGN(const bool named, qualified(out.name));
    if (!named) return refusal("this DROP INDEX names no index");
    out.kind = AlterSql::Kind::drop_index;
    return out;
  }
  return refusal("this statement is refused");
}

}  // namespace rejoin::sqlite
