// Absence: how the reply to a read looks when its key is absent, or one of its keys.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace sluice::resp {

enum class Absence : std::uint8_t {
  nil,       // $-1 or _
  zero,      // :0
  none,      // +none
  no_key,    // :-2
  empty,     // *0 or %0
  all_nil,   // an array of nothing but nils
  some_nil,  // an array with a nil
  fewer,     // an integer less than the number of keys
};

// Whether a reply that begins so may be that of an absent key: then it must be seen whole. Not of no bytes.
bool may_be_absent(Absence absence, std::string_view beginning);
// Whether a whole reply is that of an absent key. `command`: as it was sent, for Absence::fewer; of an inline command
// the keys are not counted, and it may be.
bool is_absent(Absence absence, std::string_view reply, std::string_view command);

bool is_nil(std::string_view reply);
// The elements of a whole array, still encoded.
std::vector<std::string_view> elements_of(std::string_view reply);

}  // namespace sluice::resp
