// "Did you mean …?"
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace rejoin::cli {

// ASCII letters only, as SQLite compares names.
std::string lower_case(std::string_view s);

// The candidates that look like a typo of `word`, nearest first, three at most: an edit distance (with transpositions:
// Damerau 1964, optimal string alignment) of at most a third of the word, or the word as a prefix. Case is ignored.
std::vector<std::string> near_names(std::string_view word, const std::vector<std::string>& candidates);

// " Did you mean 'countries' or 'counties'?", or empty.
std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace rejoin::cli
