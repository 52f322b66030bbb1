// Checked: a value, or the sentence that says why there is none.
#pragma once

#include <string>
#include <utility>
#include <variant>

namespace sluice::policies {

// Why something was refused; without "sluice:" and without values of the client.
struct Why {
  std::string text;
};

template <typename T>
class [[nodiscard]] Checked {
 public:
  Checked(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Checked(Why why) : state_(std::in_place_index<1>, std::move(why)) {}

  explicit operator bool() const { return state_.index() == 0; }
  T& operator*() { return *std::get_if<0>(&state_); }
  const T& operator*() const { return *std::get_if<0>(&state_); }
  T* operator->() { return std::get_if<0>(&state_); }
  const T* operator->() const { return std::get_if<0>(&state_); }
  const std::string& why() const { return std::get_if<1>(&state_)->text; }

 private:
  std::variant<T, Why> state_;
};

}  // namespace sluice::policies
