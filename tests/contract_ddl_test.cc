// What the contract's DDL makes in a real SQLite is what the contract says.
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <cmath>
#include <fstream>

#include "contract/contract.h"
#include "contract/contract_samples.h"

namespace rejoin::contract {
namespace {

using samples::Maker;

class Database {
 public:
  Database() { EXPECT_EQ(sqlite3_open(":memory:", &db_), SQLITE_OK); }
  ~Database() { sqlite3_close(db_); }
  bool exec(const std::string& sql) {
    char* message = nullptr;
    bool ok = sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, &message) == SQLITE_OK;
    error = message ? message : "";
    sqlite3_free(message);
    return ok;
  }
  std::vector<std::vector<std::string>> query(const std::string& sql) {
    std::vector<std::vector<std::string>> rows;
    sqlite3_stmt* s = nullptr;
    EXPECT_EQ(sqlite3_prepare_v2(db_, sql.c_str(), -1, &s, nullptr), SQLITE_OK) << sql << ": " << sqlite3_errmsg(db_);
    while (sqlite3_step(s) == SQLITE_ROW) {
      std::vector<std::string>& row = rows.emplace_back();
      for (int i = 0; i < sqlite3_column_count(s); ++i) {
        const char* text = reinterpret_cast<const char*>(sqlite3_column_text(s, i));
        row.emplace_back(text ? text : "(null)");
      }
    }
    sqlite3_finalize(s);
    return rows;
  }
  // A value as a literal, so that types can be told apart.
  Literal value(const std::string& sql) {
    sqlite3_stmt* s = nullptr;
    EXPECT_EQ(sqlite3_prepare_v2(db_, sql.c_str(), -1, &s, nullptr), SQLITE_OK) << sql << ": " << sqlite3_errmsg(db_);
    EXPECT_EQ(sqlite3_step(s), SQLITE_ROW);
    Literal out;
    const char* bytes = static_cast<const char*>(sqlite3_column_blob(s, 0));
    auto size = static_cast<size_t>(sqlite3_column_bytes(s, 0));
    switch (sqlite3_column_type(s, 0)) {
      case SQLITE_INTEGER:
        out = static_cast<int64_t>(sqlite3_column_int64(s, 0));
        break;
      case SQLITE_FLOAT:
        out = sqlite3_column_double(s, 0);
        break;
      case SQLITE_TEXT:
        out = std::string(bytes, size);
        break;
      case SQLITE_BLOB:
        out = Blob{size ? Bytes(bytes, size) : Bytes()};
        break;
      default:
        break;
    }
    sqlite3_finalize(s);
    return out;
  }
  std::string error;

 private:
  sqlite3* db_ = nullptr;
};

std::string text_literal(const std::string& text) {
  std::string out = "'";
  for (char c : text) out += c == '\'' ? "''" : std::string(1, c);
  return out + "'";
}

void expect_table_is(Database& db, const Table& table) {
  std::string name = text_literal(table.name);
  auto columns = db.query("SELECT name, type, \"notnull\", pk, dflt_value FROM pragma_table_info(" + name + ")");
  ASSERT_EQ(columns.size(), table.columns.size());
  for (size_t i = 0; i < columns.size(); ++i) {
    const Column& column = table.columns[i];
    EXPECT_EQ(columns[i][0], column.name);
    EXPECT_EQ(columns[i][1], column.type);
    size_t place = 0;
    for (size_t k = 0; k < table.key.size(); ++k)
      if (table.key[k] == column.name) place = k + 1;
    EXPECT_EQ(columns[i][3], std::to_string(place)) << column.name;
    bool key_of_without_rowid = place > 0 && (table.without_rowid || (table.strict && !table.integer_key));
    EXPECT_EQ(columns[i][2], column.not_null || key_of_without_rowid ? "1" : "0") << column.name;
    EXPECT_EQ(columns[i][4] != "(null)", column.default_value.has_value()) << column.name;
    if (!column.default_value) continue;
    Literal seen = db.value("SELECT " + columns[i][4]);
    if (const double* real = std::get_if<double>(&*column.default_value)) {
      // SQLite's own reading of decimals may be off by a unit in the last place, and it knows no minus zero.
      ASSERT_TRUE(std::holds_alternative<double>(seen)) << column.name << " " << columns[i][4];
      double got = std::get<double>(seen);
      EXPECT_TRUE(got == *real || std::abs(got - *real) <= std::abs(*real) * 1e-15 || std::abs(*real) < 1e-300)
          << got << " is not " << *real;
    } else {
      EXPECT_TRUE(seen == *column.default_value) << column.name << " " << columns[i][4];
    }
  }
  auto options = db.query("SELECT wr, strict FROM pragma_table_list WHERE schema='main' AND name=" + name);
  ASSERT_EQ(options.size(), 1u);
  EXPECT_EQ(options[0][0], table.without_rowid ? "1" : "0");
  EXPECT_EQ(options[0][1], table.strict ? "1" : "0");
  // A rowid alias has no index of its own.
  auto key_index = db.query("SELECT 1 FROM pragma_index_list(" + name + ") WHERE origin='pk'");
  EXPECT_EQ(key_index.empty(), table.integer_key);
}

TEST(ContractDdl, makes_every_kind_of_table) {
  Database db;
  for (const Table& table : samples::everything().tables) {
    ASSERT_TRUE(db.exec(sqlite_ddl(table))) << db.error << "\n" << sqlite_ddl(table);
    SCOPED_TRACE(sqlite_ddl(table));
    expect_table_is(db, table);
  }
}

TEST(ContractDdl, makes_any_contract) {
  for (uint64_t seed = 0; seed < 300 && !::testing::Test::HasFailure(); ++seed) {
    Database db;
    for (const Table& table : Maker(seed).contract().tables) {
      SCOPED_TRACE(sqlite_ddl(table));
      ASSERT_TRUE(db.exec(sqlite_ddl(table))) << db.error;
      expect_table_is(db, table);
    }
  }
}

// No word that is left in a type changes what the column is.
TEST(ContractDdl, no_keyword_gets_through_as_a_type) {
  for (int i = 0; i < sqlite3_keyword_count(); ++i) {
    const char* word = nullptr;
    int size = 0;
    sqlite3_keyword_name(i, &word, &size);
    for (std::string declared :
         {std::string(word, static_cast<size_t>(size)), "TEXT " + std::string(word, static_cast<size_t>(size)),
          std::string(word, static_cast<size_t>(size)) + " TEXT",
          std::string(word, static_cast<size_t>(size)) + "(1)"}) {
      Table table = samples::todos();
      table.columns[3].type = canonical_type(declared);
      Database db;
      SCOPED_TRACE(sqlite_ddl(table));
      ASSERT_TRUE(db.exec(sqlite_ddl(table))) << db.error;
      expect_table_is(db, table);
    }
  }
}

// The affinity survives when a type has to be replaced.
TEST(ContractDdl, canonical_types_keep_the_affinity) {
  for (const char* declared : {"text[]", "\"my int!\"", "\"b-l-o-b\"", "\"real?\"", "date!", "varchar(10,-1)",
                               "char\"acter", "numeric(10,2)", "", "\"5\""}) {
    Database db;
    std::string quoted = std::string(declared).empty() || declared[0] == '"' ? declared : quote_name(declared);
    ASSERT_TRUE(db.exec("CREATE TABLE a(v " + quoted + "); CREATE TABLE b(v " + canonical_type(quoted) + ")"))
        << db.error;
    for (const char* value : {"'12'", "12", "1.5", "2.0", "'1.0'", "'x'", "X'31'"}) {
      ASSERT_TRUE(db.exec(std::string("INSERT INTO a VALUES(") + value + "); INSERT INTO b VALUES(" + value + ")"));
    }
    EXPECT_EQ(db.query("SELECT v, typeof(v) FROM a"), db.query("SELECT v, typeof(v) FROM b")) << declared;
  }
}

TEST(ContractDocumentation, shows_canonical_json_and_its_fingerprint) {
  std::ifstream in(std::string(REJOIN_SOURCE_DIR) + "/docs/contract.md");
  std::string line, json, rest;
  while (std::getline(in, line)) (line.starts_with("{\"tables\"") ? json : rest) += line;
  Result<Contract> contract = from_json(json);
  ASSERT_TRUE(contract.ok()) << contract.error().message;
  EXPECT_EQ(to_json(*contract), json);
  EXPECT_NE(rest.find("`" + fingerprint(*contract) + "`"), std::string::npos) << fingerprint(*contract);
}

}  // namespace
}  // namespace rejoin::contract
