#include "cli/suggest.h"

#include <algorithm>

namespace rejoin::cli {
namespace {

size_t distance(const std::string& a, const std::string& b) {
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  for (size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
  for (size_t i = 1; i <= a.size(); ++i)
    for (size_t j = 1; j <= b.size(); ++j) {
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  return d[a.size()][b.size()];
}

}  // namespace

std::string lower_case(std::string_view s) {
  std::string out(s);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

std::vector<std::string> near_names(std::string_view word, const std::vector<std::string>& candidates) {
  static constexpr size_t kLongest = 200;  // the table above is quadratic
  std::string wanted = lower_case(word);
  std::vector<std::pair<size_t, std::string>> near;
  if (wanted.empty() || wanted.size() > kLongest) return {};
  for (const std::string& candidate : candidates) {
    if (candidate.size() > kLongest) continue;
    std::string have = lower_case(candidate);
    size_t d = distance(wanted, have);
    // One letter of three may be wrong, one of two may not: everything short resembles everything short.
    size_t most = wanted.size() < 3 ? 0 : std::max<size_t>(1, wanted.size() / 3);
    bool begins = wanted.size() >= 2 && have.starts_with(wanted);
    if (begins) d = std::min<size_t>(d, 1);
    if (begins || d <= most) near.emplace_back(d, candidate);
  }
  std::sort(near.begin(), near.end());
  std::vector<std::string> out;
  for (size_t i = 0; i < near.size() && i < 3; ++i) out.push_back(near[i].second);
  return out;
}

std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates) {
  std::vector<std::string> near = near_names(word, candidates);
  if (near.empty()) return "";
  std::string out = " Did you mean '" + near[0] + "'";
  for (size_t i = 1; i < near.size(); ++i) out += (i + 1 == near.size() ? " or '" : ", '") + near[i] + "'";
  return out + "?";
}

}  // namespace rejoin::cli
