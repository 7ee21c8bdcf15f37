// What is read from the CREATE statements that SQLite keeps.
#include "sqlite/declaration.h"

#include <gtest/gtest.h>

namespace rejoin::sqlite {
namespace {

using Texts = std::vector<std::string>;
using Names = std::set<std::string>;

TEST(Declaration, AnIndexIsItsPartsAndItsCondition) {
  EXPECT_EQ(index_parts("CREATE UNIQUE INDEX i ON t(a, lower(b) COLLATE nocase DESC, (c + d), \"e,(\" ASC)"),
            (Texts{"a", "lower(b)", "(c + d)", "\"e,(\""}));
  EXPECT_EQ(index_parts("CREATE UNIQUE INDEX \"i(\" ON [t(] ( a -- , b\n, /* ( */ b)"), (Texts{"a", "b"}));
  EXPECT_EQ(index_condition("CREATE UNIQUE INDEX i ON t(a) WHERE b > 0 AND c = 'where ('"), "b > 0 AND c = 'where ('");
  EXPECT_EQ(index_condition("CREATE UNIQUE INDEX i ON \"where\"(a)"), "");
  EXPECT_EQ(index_parts(""), Texts());
}

TEST(Declaration, ATablesChecksAndGeneratedColumns) {
  const char* t =
      "CREATE TABLE t(a CHECK (a > 0), \"check\" TEXT DEFAULT 'CHECK (x)', s AS (a || ')') STORED, 'v' INT GENERATED "
      "ALWAYS AS (cast(a AS int) + 1), CONSTRAINT c CHECK(a < \"b c\" AND (a <> 3)))";
  EXPECT_EQ(check_expressions(t), (Texts{"a > 0", "a < \"b c\" AND (a <> 3)"}));
  EXPECT_EQ(generated_expressions(t),
            (std::map<std::string, std::string>{{"s", "a || ')'"}, {"v", "cast(a AS int) + 1"}}));
  EXPECT_EQ(names_in("A + \"b c\" || lower(d) COLLATE nocase || cast(e AS int) || 'f' || x'00' || [g] || 1e5"),
            (Names{"a", "as", "b c", "collate", "d", "e", "g"}));
  EXPECT_TRUE(
      all_names("CREATE TRIGGER x AFTER INSERT ON t BEGIN INSERT INTO Audit(id) VALUES(1); END").contains("audit"));
}

TEST(Declaration, WhatMayFail) {
  for (const char* can : {"json_extract(v, '$.a')", "v->'$.a'", "\"f\" (v)", "a AND b LIKE 'x'"})
    EXPECT_TRUE(may_fail(can)) << can;
  for (const char* cannot :
       {"a", "deleted_at IS NULL", "(a + b) > 3", "a - b > 'f(x)'", "cast(v AS int) AND (a OR (b))", "a IN (1, 2)"})
    EXPECT_FALSE(may_fail(cannot)) << cannot;
}

TEST(Declaration, AnExpressionOfAnotherRow) {
  EXPECT_EQ(of_row("lower(Mail) || 'mail' || \"Mail\" || mail2 COLLATE mail", {"mail"}, "NEW"),
            "lower(NEW.\"mail\") || 'mail' || NEW.\"mail\" || mail2 COLLATE mail");
  EXPECT_EQ(of_row("A + b", {"a", "b"}, "NEW", {{"b", "ifnull(NEW.b, 0)"}}), "NEW.\"a\" + ifnull(NEW.b, 0)");
  EXPECT_EQ(of_row("\"t\".\"a\" > .5 AND main . t.B IS NULL AND t.c", {"a", "b", "t"}, "NEW"),
            "NEW.\"a\" > .5 AND NEW.\"b\" IS NULL AND t.c");
  EXPECT_EQ(names_in("t.a > .5 AND main.t.b"), (Names{"a", "and", "b"}));
}

}  // namespace
}  // namespace rejoin::sqlite
