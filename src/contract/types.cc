// The vocabulary of column types.
#include <algorithm>
#include <optional>

#include "contract/contract.h"

namespace rejoin::contract {
namespace {

// Words that SQLite's grammar reserves, or takes for the beginning of a constraint, behind a column's name.
constexpr std::string_view kNoTypeWords[] = {"ADD",
                                             "ALL",
                                             "ALTER",
                                             "ALWAYS",
                                             "AND",
                                             "AS",
                                             "AUTOINCREMENT",
                                             "BETWEEN",
                                             "CASE",
                                             "CHECK",
                                             "COLLATE",
                                             "COMMIT",
                                             "CONSTRAINT",
                                             "CREATE",
                                             "CROSS",
                                             "DEFAULT",
                                             "DEFERRABLE",
                                             "DELETE",
                                             "DISTINCT",
                                             "DROP",
                                             "ELSE",
                                             "ESCAPE",
                                             "EXCEPT",
                                             "EXISTS",
                                             "FOREIGN",
                                             "FROM",
                                             "FULL",
                                             "GENERATED",
                                             "GROUP",
                                             "HAVING",
                                             "HIDDEN",
                                             "IN",
                                             "INDEX",
                                             "INDEXED",
                                             "INNER",
                                             "INSERT",
                                             "INTERSECT",
                                             "INTO",
                                             "IS",
                                             "ISNULL",
                                             "JOIN",
                                             "LEFT",
                                             "LIMIT",
                                             "NATURAL",
                                             "NOT",
                                             "NOTHING",
                                             "NOTNULL",
                                             "NULL",
                                             "ON",
                                             "OR",
                                             "ORDER",
                                             "OUTER",
                                             "PRIMARY",
                                             "REFERENCES",
                                             "RETURNING",
                                             "RIGHT",
                                             "SELECT",
                                             "SET",
                                             "TABLE",
                                             "THEN",
                                             "TO",
                                             "TRANSACTION",
                                             "UNION",
                                             "UNIQUE",
                                             "UPDATE",
                                             "USING",
                                             "VALUES",
                                             "WHEN",
                                             "WHERE",
                                             "CURRENT_DATE",
                                             "CURRENT_TIME",
                                             "CURRENT_TIMESTAMP"};

bool reserved(std::string_view word) {
  return std::find(std::begin(kNoTypeWords), std::end(kNoTypeWords), word) != std::end(kNoTypeWords);
}

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_word(char c) { return is_digit(c) || (c >= 'A' && c <= 'Z') || c == '_'; }
char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }

class TypeReader {
 public:
  explicit TypeReader(std::string_view text) : text_(text) {}

  std::optional<std::string> read() {
    std::string out;
    skip_space();
    while (!text_.empty() && text_[0] != '(') {
      std::string word;
      while (!text_.empty() && is_word(upper(text_[0]))) word.push_back(take());
      if (word.empty() || is_digit(word[0]) || reserved(word)) return std::nullopt;
      if (!out.empty()) out.push_back(' ');
      out += word;
      skip_space();
    }
    if (!text_.empty()) {
      if (out.empty()) return std::nullopt;
      out.push_back(take());
      if (!number(out)) return std::nullopt;
      if (!text_.empty() && text_[0] == ',') {
        out.push_back(take());
        if (!number(out)) return std::nullopt;
      }
      if (text_.empty() || text_[0] != ')') return std::nullopt;
      out.push_back(take());
      skip_space();
    }
    if (!text_.empty() || out.size() > kMaxTypeBytes) return std::nullopt;
    return out;
  }

 private:
  char take() {
    char c = upper(text_[0]);
    text_.remove_prefix(1);
    return c;
  }
  void skip_space() {
    while (!text_.empty() && is_space(text_[0])) text_.remove_prefix(1);
  }
  bool number(std::string& out) {
    skip_space();
    size_t digits = 0;
    while (!text_.empty() && is_digit(text_[0])) out.push_back(take()), ++digits;
    skip_space();
    return digits > 0;
  }
  std::string_view text_;
};

// https://www.sqlite.org/datatype3.html, "Determination Of Column Affinity". Each name has the affinity that it names.
std::string_view affinity(std::string_view declared) {
  std::string type(declared);
  std::transform(type.begin(), type.end(), type.begin(), upper);
  auto has = [&](std::string_view part) { return type.find(part) != std::string::npos; };
  if (has("INT")) return "INTEGER";
  if (has("CHAR") || has("CLOB") || has("TEXT")) return "TEXT";
  if (has("BLOB")) return "BLOB";
  if (has("REAL") || has("FLOA") || has("DOUB")) return "REAL";
  return "NUMERIC";
}

}  // namespace

std::string canonical_type(std::string_view declared) {
  if (std::optional<std::string> type = TypeReader(declared).read()) return *std::move(type);
  return std::string(affinity(declared));
}

}  // namespace rejoin::contract
