// What a CREATE statement says that SQLite's pragmas don't tell: the expressions of an index, CHECKs, generated
// columns. Reads the text that SQLite stored, which is valid SQL.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace rejoin::sqlite {

// The names in lower case (ASCII).
std::string lower_name(std::string_view name);

// What a CREATE INDEX indexes: the text of each column or expression, without COLLATE, ASC and DESC.
std::vector<std::string> index_parts(std::string_view create_index);
// The condition of a partial index; "" when it is not one.
std::string index_condition(std::string_view create_index);
// The expressions of the CHECK constraints of a CREATE TABLE.
std::vector<std::string> check_expressions(std::string_view create_table);
// The expressions of generated columns, by the column's lower_name().
std::map<std::string, std::string> generated_expressions(std::string_view create_table);

// May SQLite fail to compute it? Nothing but functions does, and the operators that call them; an application may have
// put its own in the place of any.
bool may_fail(std::string_view expression);
// The names (lower_name) that an expression may mean as columns; keywords may be among them.
std::set<std::string> names_in(std::string_view expression);
// All names that stand anywhere in a statement.
std::set<std::string> all_names(std::string_view sql);
// Does a CREATE TRIGGER make one that deletions fire?
bool fires_on_delete(std::string_view create_trigger);
// The expression with the columns in `names` (lower_name) written as `row`."name", those in `instead` as it says.
std::string of_row(std::string_view expression, const std::set<std::string>& names, std::string_view row,
                   const std::map<std::string, std::string>& instead = {});

}  // namespace rejoin::sqlite
