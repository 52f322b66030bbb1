// Inline arguments: splits a plain line (`SET "a key" value`) the way Redis does.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sluice::resp {

// Appends the arguments of `line` (without its line end, without NUL bytes) to `args`; the views point into `text`,
// which is replaced. False when quotes are not closed or are followed by something else than a blank.
bool split_inline(std::string_view line, std::string& text, std::vector<std::string_view>& args);

}  // namespace sluice::resp
