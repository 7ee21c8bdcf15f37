#include "sqlite/declaration.h"

#include "sqlite/sql.h"

namespace rejoin::sqlite {
namespace {

struct Word {
  enum class Kind { bare, quoted, text, other } kind;
  size_t from, to;   // in the statement
  std::string name;  // of bare and quoted words, in lower case
  int depth = 0;     // of parentheses around it; a parenthesis itself counts as inside
  bool is(const char* keyword) const { return kind == Kind::bare && name == keyword; }
};

bool starts_name(unsigned char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80; }
bool continues_name(unsigned char c) { return starts_name(c) || (c >= '0' && c <= '9') || c == '$'; }

std::vector<Word> words_of(std::string_view sql) {
  std::vector<Word> out;
  int depth = 0;
  size_t i = 0;
  while (i < sql.size()) {
    const char c = sql[i];
    const size_t from = i;
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f') {
      ++i;
      continue;
    }
    if (sql.substr(i, 2) == "--") {
      i = std::min(sql.find('\n', i), sql.size());
      continue;
    }
    if (sql.substr(i, 2) == "/*") {
      const size_t end = sql.find("*/", i + 2);
      i = end == std::string_view::npos ? sql.size() : end + 2;
      continue;
    }
    Word word{Word::Kind::other, from, from + 1, "", depth};
    if (c == '\'' || c == '"' || c == '`' || c == '[') {
      const char close = c == '[' ? ']' : c;
      for (++i; i < sql.size(); ++i) {
        if (sql[i] != close) {
          word.name += sql[i];
        } else if (close != ']' && sql.substr(i + 1, 1) == std::string_view(&close, 1)) {
          word.name += sql[i++];
        } else {
          break;
        }
      }
      i = std::min(i + 1, sql.size());
      word.kind = c == '\'' ? Word::Kind::text : Word::Kind::quoted;
    } else if (starts_name(static_cast<unsigned char>(c))) {
      while (i < sql.size() && continues_name(static_cast<unsigned char>(sql[i]))) word.name += sql[i++];
      // x'0aff' is a value.
      if (word.name.size() == 1 && (c == 'x' || c == 'X') && i < sql.size() && sql[i] == '\'') {
        i = std::min(sql.find('\'', i + 1), sql.size() - 1) + 1;
        word.kind = Word::Kind::text;
      } else {
        word.kind = Word::Kind::bare;
      }
    } else if (c >= '0' && c <= '9') {
      while (i < sql.size() && (continues_name(static_cast<unsigned char>(sql[i])) || sql[i] == '.')) ++i;
    } else {
      if (c == '(') word.depth = ++depth;
      if (c == ')') --depth;
      ++i;
    }
    word.to = i;
    word.name = lower_name(word.name);
    out.push_back(std::move(word));
  }
  return out;
}

bool is_sign(std::string_view sql, const Word& w, char c) { return w.kind == Word::Kind::other && sql[w.from] == c; }

// The position of the parenthesis that closes the one at `open`.
size_t close_of(std::string_view sql, const std::vector<Word>& words, size_t open) {
  size_t i = open + 1;
  while (i < words.size() && !(is_sign(sql, words[i], ')') && words[i].depth == words[open].depth)) ++i;
  return i;
}

std::string between(std::string_view sql, const std::vector<Word>& words, size_t first, size_t end) {
  if (first >= end || end > words.size()) return "";
  return std::string(sql.substr(words[first].from, words[end - 1].to - words[first].from));
}

// The stretches of words that commas divide between `open` and `close`.
std::vector<std::pair<size_t, size_t>> members(std::string_view sql, const std::vector<Word>& words, size_t open,
                                               size_t close) {
  std::vector<std::pair<size_t, size_t>> out;
  size_t first = open + 1;
  for (size_t i = first; i <= close && i < words.size(); ++i) {
    const bool comma = is_sign(sql, words[i], ',') && words[i].depth == words[open].depth;
    if (!comma && i != close) continue;
    out.emplace_back(first, i);
    first = i + 1;
  }
  return out;
}

size_t first_parenthesis(std::string_view sql, const std::vector<Word>& words) {
  size_t i = 0;
  while (i < words.size() && !is_sign(sql, words[i], '(')) ++i;
  return i;
}

bool names_a_column(std::string_view expression, const std::vector<Word>& words, size_t i) {
  if (words[i].kind != Word::Kind::bare && words[i].kind != Word::Kind::quoted) return false;
  if (i + 1 < words.size() && is_sign(expression, words[i + 1], '(')) return false;  // a function
  if (i + 1 < words.size() && is_sign(expression, words[i + 1], '.')) return false;  // a table, a schema
  return i == 0 || !(words[i - 1].is("collate") || words[i - 1].is("as"));
}

}  // namespace

std::string lower_name(std::string_view name) {
  std::string out(name);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

std::vector<std::string> index_parts(std::string_view create_index) {
  std::vector<std::string> out;
  const std::vector<Word> words = words_of(create_index);
  const size_t open = first_parenthesis(create_index, words);
  if (open >= words.size()) return out;
  for (auto [first, end] : members(create_index, words, open, close_of(create_index, words, open))) {
    if (end > first && (words[end - 1].is("asc") || words[end - 1].is("desc"))) --end;
    if (end >= first + 2 && words[end - 2].is("collate") && words[end - 2].depth == words[open].depth) end -= 2;
    out.push_back(between(create_index, words, first, end));
  }
  return out;
}

std::string index_condition(std::string_view create_index) {
  const std::vector<Word> words = words_of(create_index);
  const size_t open = first_parenthesis(create_index, words);
  if (open >= words.size()) return "";
  const size_t where = close_of(create_index, words, open) + 1;
  if (where >= words.size() || !words[where].is("where")) return "";
  return between(create_index, words, where + 1, words.size());
}

std::vector<std::string> check_expressions(std::string_view create_table) {
  std::vector<std::string> out;
  const std::vector<Word> words = words_of(create_table);
  for (size_t i = 0; i + 1 < words.size(); ++i)
    if (words[i].is("check") && is_sign(create_table, words[i + 1], '('))
      out.push_back(between(create_table, words, i + 2, close_of(create_table, words, i + 1)));
  return out;
}

std::map<std::string, std::string> generated_expressions(std::string_view create_table) {
  std::map<std::string, std::string> out;
  const std::vector<Word> words = words_of(create_table);
  const size_t open = first_parenthesis(create_table, words);
  if (open >= words.size()) return out;
  for (const auto& member : members(create_table, words, open, close_of(create_table, words, open)))
    for (size_t i = member.first + 1; i + 1 < member.second; ++i)
      if (words[i].is("as") && words[i].depth == words[open].depth && is_sign(create_table, words[i + 1], '(')) {
        out[words[member.first].name] = between(create_table, words, i + 2, close_of(create_table, words, i + 1));
        break;
      }
  return out;
}

bool may_fail(std::string_view expression) {
  static const std::set<std::string> kNoFunctions = {"and",  "or",   "not",  "in",   "is",     "cast",
                                                     "case", "when", "then", "else", "between"};
  const std::vector<Word> words = words_of(expression);
  for (size_t i = 0; i < words.size(); ++i) {
    const Word& w = words[i];
    if (w.is("like") || w.is("glob") || w.is("match") || w.is("regexp")) return true;
    if (w.kind == Word::Kind::other && expression.substr(w.from, 2) == "->") return true;
    const bool calls = i + 1 < words.size() && is_sign(expression, words[i + 1], '(');
    const bool named = w.kind == Word::Kind::bare || w.kind == Word::Kind::quoted;
    if (calls && named && !kNoFunctions.contains(w.name)) return true;
  }
  return false;
}

std::set<std::string> names_in(std::string_view expression) {
  std::set<std::string> out;
  const std::vector<Word> words = words_of(expression);
  for (size_t i = 0; i < words.size(); ++i)
    if (names_a_column(expression, words, i)) out.insert(words[i].name);
  return out;
}

std::set<std::string> all_names(std::string_view sql) {
  std::set<std::string> out;
  // SQLite takes 'name' for a name too, where one must stand.
  for (Word& word : words_of(sql))
    if (word.kind != Word::Kind::other) out.insert(std::move(word.name));
  return out;
}

bool fires_on_delete(std::string_view create_trigger) {
  const std::vector<Word> words = words_of(create_trigger);
  for (size_t i = 1; i < words.size(); ++i)
    if (words[i].is("on")) return words[i - 1].is("delete");
  return false;
}

std::string of_row(std::string_view expression, const std::set<std::string>& names, std::string_view row,
                   const std::map<std::string, std::string>& instead) {
  std::string out;
  size_t copied = 0;
  const std::vector<Word> words = words_of(expression);
  for (size_t i = 0; i < words.size(); ++i) {
    if (!names_a_column(expression, words, i) || !names.contains(words[i].name)) continue;
    size_t first = i;  // with the table's name and the schema's before it, as a partial index's condition may have them
    while (first >= 2 && is_sign(expression, words[first - 1], '.')) first -= 2;
    out += expression.substr(copied, words[first].from - copied);
    const auto other = instead.find(words[i].name);
    out += other != instead.end() ? other->second : std::string(row) + "." + quote(words[i].name);
    copied = words[i].to;
  }
  return out + std::string(expression.substr(copied));
}

}  // namespace rejoin::sqlite
