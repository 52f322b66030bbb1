// Scripts: their digests and their list, see script.h.
#include "policies/script.h"

#include <array>
#include <openssl/evp.h>
#include <utility>

#include "policies/counter_scripts.h"
#include "policies/fuse_scripts.h"

namespace sluice::policies {
namespace {

std::string sha1_hex(std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha1(), nullptr);
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string hex;
  for (unsigned int i = 0; i < size; ++i) {
    hex += kDigits[digest[i] >> 4U];
    hex += kDigits[digest[i] & 15U];
  }
  return hex;
}

}  // namespace

Script make_script(std::string_view name, std::string text) {
  Script script{name, std::move(text), {}};
  script.sha1 = sha1_hex(script.text);
  return script;
}

const std::vector<const Script*>& all_scripts() {
  static const std::vector<const Script*> scripts = {
      &fuse::arm(),     &fuse::apply(),    &fuse::abort(),    &fuse::lease(),   &fuse::fill(),     &fuse::inval(),
      &counters::add(), &counters::load(), &counters::seed(), &counters::set(), &counters::read(), &counters::clean(),
  };
  return scripts;
}

}  // namespace sluice::policies
