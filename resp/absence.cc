// Absence, see absence.h.
#include "resp/absence.h"

#include <charconv>

#include "resp/reply_framer.h"

namespace sluice::resp {
namespace {

// As far as both go. Byte by byte: what Redis found differs in the first two.
bool agree(std::string_view bytes, std::string_view reply) {
  for (std::size_t i = 0; i < bytes.size() && i < reply.size(); ++i) {
    if (bytes[i] != reply[i]) return false;
  }
  return true;
}

bool may_be_nil(std::string_view bytes) { return agree(bytes, "$-1\r\n") || agree(bytes, "_\r\n"); }

// One nil too many costs a look at all of them; the first tells in nearly every case.
bool may_begin_with_nil(std::string_view array) {
  if (array[0] != '*') return false;
  const std::size_t header = array.find('\n');
  return header == std::string_view::npos || may_be_nil(array.substr(header + 1));
}

template <class Each>
void each_element(std::string_view array, Each each) {
  ReplyFramer framer;
  for (array.remove_prefix(array.find('\n') + 1); !array.empty();) {
    const std::string_view element = array.substr(0, framer.feed(array).size);
    array.remove_prefix(element.size());
    if (!framer.is_push()) each(element);
  }
}

bool has_nil(std::string_view array, bool all) {
  if (array[0] != '*') return false;
  const bool any = array.find("$-1\r\n") != std::string_view::npos || array.find("_\r\n") != std::string_view::npos;
  if (!any) return false;
  std::size_t nils = 0, others = 0;
  each_element(array, [&](std::string_view element) { ++(is_nil(element) ? nils : others); });
  return nils != 0 && (!all || others == 0);
}

std::uint64_t number_of(std::string_view line) {
  std::uint64_t number = 0;
  std::from_chars(line.data() + 1, line.data() + line.size(), number);
  return number;
}

}  // namespace

bool is_nil(std::string_view reply) { return reply == "$-1\r\n" || reply == "_\r\n"; }

bool may_be_absent(Absence absence, std::string_view beginning) {
  switch (absence) {
    case Absence::nil:
      return may_be_nil(beginning);
    case Absence::zero:
      return agree(beginning, ":0\r\n");
    case Absence::none:
      return agree(beginning, "+none\r\n");
    case Absence::no_key:
      return agree(beginning, ":-2\r\n");
    case Absence::empty:
      return agree(beginning, "*0\r\n") || agree(beginning, "%0\r\n");
    case Absence::all_nil:
      return may_begin_with_nil(beginning);
    case Absence::some_nil:
      return beginning[0] == '*';
    case Absence::fewer:
      return beginning[0] == ':';
  }
  return false;
}

bool is_absent(Absence absence, std::string_view reply, std::string_view command) {
  switch (absence) {
    case Absence::nil:
    case Absence::zero:
    case Absence::none:
    case Absence::no_key:
    case Absence::empty:
      return may_be_absent(absence, reply);
    case Absence::all_nil:
      return has_nil(reply, true);
    case Absence::some_nil:
      return has_nil(reply, false);
    case Absence::fewer:
      return reply[0] == ':' && (command[0] != '*' || number_of(reply) + 1 < number_of(command));
  }
  return false;
}

std::vector<std::string_view> elements_of(std::string_view reply) {
  std::vector<std::string_view> elements;
  each_element(reply, [&](std::string_view element) { elements.push_back(element); });
  return elements;
}

}  // namespace sluice::resp
